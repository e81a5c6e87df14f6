// The workloads on Go's scheduler, as Go is written: goroutines, channels, sync and contexts. A goroutine cannot be
// awaited or ended from outside, so a WaitGroup, a channel or a context stands where the others join or cancel.
//
// "about" tells the version and the workloads; "WORKLOAD WORKERS WARM-UP TIME" (in milliseconds) takes a sample.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How a sample is to be taken.
type plan struct {
	warmUp, time time.Duration
}

type workload struct {
	name string
	run  func(plan) sample
}

var workloads = []workload{
	{"spawn_local", repeated(spawnLocal)},
	{"spawn_join", repeated(spawnJoin)},
	{"tree", repeated(tree)},
	{"chained_spawn", repeated(chainedSpawn)},
	{"yield", repeated(yields)},
	{"ping_pong", repeated(pingPong)},
	{"channel_1_1", repeated(func(m *meter) { channel(m, 1) })},
	{"channel_n_1", repeated(func(m *meter) { channel(m, 16) })},
	{"mutex", repeated(mutex)},
	{"semaphore", repeated(semaphore)},
	{"timer_alone", repeated(timerAlone)},
	{"timer_live", besideSleepers(timerAlone)},
	{"timer_shared", besideSleepers(timerShared)},
	{"timeout_ready", repeated(timeoutReady)},
	{"sleep_1ms", sleep1ms},
	{"sleep_storm", sleepStorm},
	{"gather", repeated(gather)},
	{"cancel", repeated(cancel)},
	{"spawn_cancel", repeated(spawnCancel)},
	{"parked_bytes", func(plan) sample { return grownBy(func() { select {} }) }},
	{"sleeping_bytes", func(plan) sample { return grownBy(func() { time.Sleep(time.Hour) }) }},
	{"echo_64", func(p plan) sample { return echo(p, 64) }},
	{"echo_1000", func(p plan) sample { return echo(p, 1000) }},
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "about" {
		fmt.Println(strings.Replace(runtime.Version(), "go", "Go ", 1))
		for _, workload := range workloads {
			fmt.Println(workload.name)
		}
		return
	}
	if len(os.Args) != 5 {
		fail("usage: rivals-go about | WORKLOAD WORKERS WARM-UP TIME")
	}
	runtime.GOMAXPROCS(number(os.Args[2]))
	p := plan{milliseconds(number(os.Args[3])), milliseconds(number(os.Args[4]))}
	for _, workload := range workloads {
		if workload.name == os.Args[1] {
			workload.run(p).print()
			return
		}
	}
	fail("there is no workload " + os.Args[1])
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

func milliseconds(n int) time.Duration {
	return time.Duration(n) * time.Millisecond
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}

// Measuring.

type usage struct {
	cpu                    time.Duration
	voluntary, involuntary int64
}

func rusage() syscall.Rusage {
	var raw syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &raw))
	return raw
}

func usageNow() usage {
	raw := rusage()
	return usage{time.Duration(raw.Utime.Nano() + raw.Stime.Nano()), raw.Nvcsw, raw.Nivcsw}
}

// A stopwatch that may be started and stopped many times.
type meter struct {
	ops    int
	wall   time.Duration
	usage  usage
	since  time.Time
	before usage
}

func (m *meter) start() {
	m.since, m.before = time.Now(), usageNow()
}

func (m *meter) stop(ops int) {
	m.wall += time.Since(m.since)
	now := usageNow()
	m.usage.cpu += now.cpu - m.before.cpu
	m.usage.voluntary += now.voluntary - m.before.voluntary
	m.usage.involuntary += now.involuntary - m.before.involuntary
	m.ops += ops
}

type sample struct {
	meter  *meter
	values []float64
}

func (s sample) print() {
	var values []string
	for _, value := range s.values {
		values = append(values, strconv.FormatFloat(value, 'g', -1, 64))
	}
	u := s.meter.usage
	fmt.Println("rivals-sample", strings.Join(values, ","), s.meter.ops, int64(s.meter.wall), int64(u.cpu),
		u.voluntary, u.involuntary, rusage().Maxrss)
}

func nsPerOp(m *meter) sample {
	return sample{m, []float64{float64(m.wall) / float64(m.ops)}}
}

// Repeats a round, first to warm up, then to measure.
func repeat(p plan, round func(*meter)) sample {
	for begun, m := time.Now(), new(meter); time.Since(begun) < p.warmUp; {
		round(m)
	}
	m := new(meter)
	for m.wall < p.time {
		round(m)
	}
	return nsPerOp(m)
}

func repeated(round func(*meter)) func(plan) sample {
	return func(p plan) sample { return repeat(p, round) }
}

func p50p99(m *meter, ns []int64) sample {
	sort.Slice(ns, func(a, b int) bool { return ns[a] < ns[b] })
	us := func(share float64) float64 {
		return float64(ns[int(float64(len(ns)-1)*share+0.5)]) / 1e3
	}
	return sample{m, []float64{us(0.5), us(0.99)}}
}

func residentKib() int {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	for _, line := range strings.Split(string(status), "\n") {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "VmRSS:" {
			return number(words[1])
		}
	}
	fail("the kernel tells no VmRSS")
	return 0
}
