// What tasks do to each other: spawn, switch, share, end.
package main

import (
	"context"
	"runtime"
	"sync"
)

// Spawning.

func spawnLocal(m *meter) {
	const tasks = 10_000
	var all sync.WaitGroup
	m.start()
	all.Add(tasks)
	for n := 0; n < tasks; n++ {
		go func() { all.Done() }()
	}
	all.Wait()
	m.stop(tasks)
}

func spawnJoin(m *meter) {
	const tasks = 10_000
	m.start()
	for n := 0; n < tasks; n++ {
		result := make(chan int, 1)
		go func(n int) { result <- n }(n)
		if <-result != n {
			fail("another task's result")
		}
	}
	m.stop(tasks)
}

func tree(m *meter) {
	const depth = 19
	m.start()
	result := make(chan int, 1)
	go node(depth, result)
	m.stop(<-result)
}

func node(depth int, result chan<- int) {
	if depth == 0 {
		result <- 1
		return
	}
	halves := make(chan int, 2)
	go node(depth-1, halves)
	go node(depth-1, halves)
	result <- 1 + <-halves + <-halves
}

func chainedSpawn(m *meter) {
	const depth = 1_000
	m.start()
	end := make(chan struct{})
	link(depth, end)
	<-end
	m.stop(depth)
}

func link(depth int, end chan<- struct{}) {
	if depth == 0 {
		close(end)
		return
	}
	go link(depth-1, end)
}

// Switching.

func yields(m *meter) {
	const tasks, times = 200, 1_000
	var all sync.WaitGroup
	m.start()
	all.Add(tasks)
	for n := 0; n < tasks; n++ {
		go func() {
			for n := 0; n < times; n++ {
				runtime.Gosched()
			}
			all.Done()
		}()
	}
	all.Wait()
	m.stop(tasks * times)
}

func pingPong(m *meter) {
	const pairs = 1_000
	var all sync.WaitGroup
	m.start()
	all.Add(pairs)
	go func() {
		for n := 0; n < pairs; n++ {
			go func() {
				ping, pong := make(chan struct{}, 1), make(chan struct{}, 1)
				go func() {
					<-ping
					pong <- struct{}{}
				}()
				ping <- struct{}{}
				<-pong
				all.Done()
			}()
		}
	}()
	all.Wait()
	m.stop(pairs)
}

// What goroutines share.

func channel(m *meter, producers int) {
	const messages, capacity = 100_000, 64
	share := messages / producers
	sent := share * producers
	m.start()
	queue := make(chan uint64, capacity)
	received := make(chan uint64, 1)
	go func() {
		var sum uint64
		for n := 0; n < sent; n++ {
			sum += <-queue
		}
		received <- sum
	}()
	for producer := 0; producer < producers; producer++ {
		go func(first int) {
			for n := 0; n < share; n++ {
				queue <- uint64(first + n)
			}
		}(producer * share)
	}
	sum := <-received
	m.stop(sent)
	if sum != uint64(sent)*uint64(sent-1)/2 {
		fail("other messages came than were sent")
	}
}

const (
	contenders = 100
	turns      = 1_000
	// Every so many turns it is kept over a yield.
	turnsBetweenYields = 10
)

func mutex(m *meter) {
	var lock sync.Mutex
	count := 0
	contend(m, func(n int) {
		lock.Lock()
		before := count
		keep(n)
		count = before + 1
		lock.Unlock()
	})
	if count != contenders*turns {
		fail("the mutex let two in at a time")
	}
}

// A channel with room for the permits is Go's semaphore.
func semaphore(m *meter) {
	permits := make(chan struct{}, 10)
	contend(m, func(n int) {
		permits <- struct{}{}
		keep(n)
		<-permits
	})
}

func keep(n int) {
	if n%turnsBetweenYields == 0 {
		runtime.Gosched()
	}
}

func contend(m *meter, turn func(int)) {
	var all sync.WaitGroup
	m.start()
	all.Add(contenders)
	for task := 0; task < contenders; task++ {
		go func() {
			for n := 0; n < turns; n++ {
				turn(n)
			}
			all.Done()
		}()
	}
	all.Wait()
	m.stop(contenders * turns)
}

// Ending many at once.

const many = 10_000

func gather(m *meter) {
	m.start()
	outputs := make([]int, many)
	var all sync.WaitGroup
	all.Add(many)
	for n := range outputs {
		go func(n int) {
			outputs[n] = n
			all.Done()
		}(n)
	}
	all.Wait()
	m.stop(many)
	for n, output := range outputs {
		if output != n {
			fail("another task's result")
		}
	}
}

// One context for all, as it is done in Go: nobody makes ten thousand of them to end them together.
func pending() (context.CancelFunc, *sync.WaitGroup) {
	ctx, cancel := context.WithCancel(context.Background())
	var begun sync.WaitGroup
	ended := new(sync.WaitGroup)
	begun.Add(many)
	ended.Add(many)
	for n := 0; n < many; n++ {
		go func() {
			begun.Done()
			<-ctx.Done()
			ended.Done()
		}()
	}
	begun.Wait()
	return cancel, ended
}

func cancel(m *meter) {
	end, ended := pending()
	m.start()
	end()
	ended.Wait()
	m.stop(many)
}

func spawnCancel(m *meter) {
	m.start()
	end, ended := pending()
	end()
	ended.Wait()
	m.stop(many)
}

// Memory.

func grownBy(wait func()) sample {
	const before, tasks = 1_000, 100_000
	spawnWaiting(before, wait)
	resident := residentKib()
	m := new(meter)
	m.start()
	spawnWaiting(tasks, wait)
	m.stop(tasks)
	grown := residentKib() - resident
	if grown < 0 {
		grown = 0
	}
	return sample{m, []float64{float64(grown) * 1024 / tasks}}
}

func spawnWaiting(tasks int, wait func()) {
	var begun sync.WaitGroup
	begun.Add(tasks)
	for n := 0; n < tasks; n++ {
		go func() {
			begun.Done()
			wait()
		}()
	}
	begun.Wait()
}

