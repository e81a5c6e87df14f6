// What tasks wait for: time, and requests.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// Timers. A goroutine that sleeps cannot be woken earlier: what is made and dropped is a Timer.

const (
	churned             = 30 * time.Second
	sleepers            = 1_000
	sleepersWake        = 20 * time.Second
	churnBetweenYields  = 50
	timersOfOne         = 10_000
	sharers, timersEach = 100, 1_000
)

func churn(timers int) {
	for n := 0; n < timers; n++ {
		time.NewTimer(churned).Stop()
		if n%churnBetweenYields == 0 {
			runtime.Gosched()
		}
	}
}

func timerAlone(m *meter) {
	m.start()
	churn(timersOfOne)
	m.stop(timersOfOne)
}

func timerShared(m *meter) {
	var all sync.WaitGroup
	m.start()
	all.Add(sharers)
	for n := 0; n < sharers; n++ {
		go func() {
			churn(timersEach)
			all.Done()
		}()
	}
	all.Wait()
	m.stop(sharers * timersEach)
}

func besideSleepers(round func(*meter)) func(plan) sample {
	return func(p plan) sample {
		var all sync.WaitGroup
		all.Add(sleepers)
		for n := 0; n < sleepers; n++ {
			go func(n int) {
				all.Done()
				time.Sleep(sleepersWake + milliseconds(n))
			}(n)
		}
		all.Wait()
		return repeat(p, round)
	}
}

func timeoutReady(m *meter) {
	const timeouts = 10_000
	ready := make(chan struct{})
	close(ready)
	m.start()
	for n := 0; n < timeouts; n++ {
		timer := time.NewTimer(churned)
		select {
		case <-ready:
			timer.Stop()
		case <-timer.C:
			fail("the time was up")
		}
	}
	m.stop(timeouts)
}

func sleep1ms(p plan) sample {
	const asleep = time.Millisecond
	m := new(meter)
	var late []int64
	m.start()
	for begun := time.Now(); time.Since(begun) < p.time; {
		now := time.Now()
		time.Sleep(asleep)
		late = append(late, int64(time.Since(now)-asleep))
	}
	m.stop(len(late))
	return p50p99(m, late)
}

func sleepStorm(plan) sample {
	const (
		sleeps = 100_000
		lead   = 500 * time.Millisecond
		spread = time.Second
		stride = 7_919
	)
	late := make([]int64, sleeps)
	var all sync.WaitGroup
	m := new(meter)
	m.start()
	first := time.Now().Add(lead)
	all.Add(sleeps)
	for n := 0; n < sleeps; n++ {
		until := first.Add(spread * time.Duration(n*stride%sleeps) / sleeps)
		go func(n int) {
			time.Sleep(time.Until(until))
			late[n] = int64(time.Since(until))
			all.Done()
		}(n)
	}
	all.Wait()
	m.stop(sleeps)
	return p50p99(m, late)
}

// Serving.

const message = 64

func echo(p plan, connections int) sample {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() {
		for {
			// TCP_NODELAY is set by default.
			conn, err := listener.Accept()
			check(err)
			go serve(conn)
		}
	}()
	n, ms := strconv.Itoa(connections), func(d time.Duration) string {
		return strconv.FormatInt(d.Milliseconds(), 10)
	}
	load := exec.Command(os.Getenv("RIVALS_PROGRAM"), "load", "echo", listener.Addr().String(), n, n, ms(p.warmUp), ms(p.time))
	load.Stderr = os.Stderr
	output, err := load.StdoutPipe()
	check(err)
	check(load.Start())
	lines := bufio.NewScanner(output)
	m := new(meter)
	if !lines.Scan() || lines.Text() != "counting" {
		fail("the load generator did not begin")
	}
	m.start()
	var requests int
	var ns int64
	var p50, p99 float64
	if !lines.Scan() {
		fail("the load generator gave up")
	}
	_, err = fmt.Sscan(lines.Text(), &requests, &ns, &p50, &p99)
	check(err)
	m.stop(requests)
	check(load.Wait())
	return sample{m, []float64{float64(requests) / time.Duration(ns).Seconds(), p50, p99}}
}

func serve(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, message)
	// The load generator ends by closing or resetting its connections; either is the end.
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}
