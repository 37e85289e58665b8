package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"torrentfs/picker/sim"
)

type options struct {
	exps, scens, modes, busy, rates []string
	pieces                          []int64
	n                               int
	seed                            uint64
	reads                           bool
	size                            int64
	think                           time.Duration
}

func main() {
	o, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pickersim:", err)
		os.Exit(2)
	}
	jobs, err := o.jobs()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pickersim:", err)
		os.Exit(2)
	}
	run(os.Stdout, jobs)
}

func parse() (*options, error) {
	o := &options{}
	list := func(name, value, usage string) *string { return flag.String(name, value, usage+" (comma-separated)") }
	exps := list("exp", "seek", "experiments: seek, cold, seq, play, full")
	scens := list("scen", "netns5,netns5tr,netns5h,hetero30,manyslow40", "scenarios, or all")
	modes := list("mode", "v1", "v1: pieces verify; v2: blocks verify")
	busy := list("busy", "true,false", "with a background download, without")
	rates := list("rate", "8,25", "player's rates, Mbit/s")
	pieces := list("piece", "1024", "piece lengths, KiB")
	flag.IntVar(&o.n, "n", 150, "reads; repetitions of cold; segments of play; seconds of seq")
	flag.Uint64Var(&o.seed, "seed", 1, "random seed")
	flag.Int64Var(&o.size, "size", 1024, "size of a full download, MiB")
	flag.DurationVar(&o.think, "think", 500*time.Millisecond, "least pause between reads")
	flag.BoolVar(&o.reads, "reads", false, "print each read")
	flag.Parse()
	o.exps, o.scens, o.modes = split(*exps), split(*scens), split(*modes)
	o.busy, o.rates = split(*busy), split(*rates)
	for _, s := range split(*pieces) {
		kib, err := strconv.ParseInt(s, 10, 64)
		if err != nil || kib < 16 || kib%16 != 0 {
			return nil, fmt.Errorf("parse piece length %q: want KiB, a multiple of 16", s)
		}
		o.pieces = append(o.pieces, kib<<10)
	}
	if *scens == "all" {
		o.scens = nil
		for _, s := range sim.Scenarios() {
			o.scens = append(o.scens, s.Name)
		}
	}
	return o, nil
}

func split(s string) []string { return strings.Split(s, ",") }

// jobs lists the runs that the options ask for, each a function that returns its report.
func (o *options) jobs() ([]func() string, error) {
	var jobs []func() string
	for _, exp := range o.exps {
		for _, name := range o.scens {
			sc, ok := sim.ScenarioNamed(name)
			if !ok {
				return nil, fmt.Errorf("find scenario %q: unknown", name)
			}
			for _, piece := range o.pieces {
				for _, mode := range o.modes {
					for _, busy := range o.busy {
						s := sim.Setup{Scenario: sc, Piece: piece, Leaf: mode == "v2", Busy: busy == "true", Seed: o.seed}
						more, err := o.experiment(exp, s)
						if err != nil {
							return nil, err
						}
						jobs = append(jobs, more...)
						if exp == "cold" || exp == "full" {
							break // knows no busy and idle
						}
					}
				}
			}
		}
	}
	return jobs, nil
}

func (o *options) experiment(exp string, s sim.Setup) ([]func() string, error) {
	head := func(what string) string {
		mode, busy := "v1", "idle"
		if s.Leaf {
			mode = "v2"
		}
		if s.Busy {
			busy = "busy"
		}
		return fmt.Sprintf("%-4s %-10s %5dK %s %-4s %s", exp, s.Scenario.Name, s.Piece>>10, mode, busy, what)
	}
	switch exp {
	case "seek":
		return []func() string{func() string { return head(o.report(sim.Seek(s, o.n, o.think))) }}, nil
	case "cold":
		return []func() string{func() string { return head(o.report(sim.Cold(s, min(o.n, 30)))) }}, nil
	case "seq":
		return []func() string{func() string {
			r := sim.Sequential(s, min(o.n, 8))
			return head(fmt.Sprintf("first %4d ms; of capacity, by second %.2f; waste %4.1f %%\n", r.First.Milliseconds(), r.Seconds, 100*r.Wasted))
		}}, nil
	case "full":
		return []func() string{func() string {
			r := sim.Full(s, o.size<<20)
			return head(fmt.Sprintf("rate %.3f of capacity to 95 %%; last 5 %% in %.2f of ideal; waste %.2f %%; done %v\n", r.Rate, r.Last, 100*r.Wasted, r.Done))
		}}, nil
	case "play":
		var jobs []func() string
		for _, rate := range o.rates {
			mbit, err := strconv.ParseFloat(rate, 64)
			if err != nil {
				return nil, fmt.Errorf("parse rate %q: %w", rate, err)
			}
			jobs = append(jobs, func() string {
				r := sim.Play(s, mbit*1e6/8, min(o.n, 6))
				return head(fmt.Sprintf("%2.0f Mbit/s: start p50 %.2f p95 %.2f s; %d stalls, %.2f s; waste %4.1f %%; rate %.2f\n",
					mbit, sim.Percentile(r.Start, .5), sim.Percentile(r.Start, .95), r.Stalls, r.Stalled.Seconds(), 100*r.Wasted, r.Rate))
			})
		}
		return jobs, nil
	}
	return nil, fmt.Errorf("find experiment %q: unknown", exp)
}

func (o *options) report(r sim.SeekResult) string {
	var b strings.Builder
	ms, ratios := r.Milliseconds(), r.Ratios()
	fmt.Fprintf(&b, "p50 %4.0f p95 %4.0f p99 %4.0f ms; bound p50 %4.0f; ratio p50 %.2f p95 %.2f p99 %.2f; waste %4.1f %%; rate %.2f; failed %d\n",
		sim.Percentile(ms, .5), sim.Percentile(ms, .95), sim.Percentile(ms, .99), sim.Percentile(r.Bounds(), .5),
		sim.Percentile(ratios, .5), sim.Percentile(ratios, .95), sim.Percentile(ratios, .99), 100*r.Wasted, r.Rate, r.Failed)
	if o.reads {
		for i, x := range r.Reads {
			if x.Bound > 0 {
				fmt.Fprintf(&b, "  read %3d at %11d: %5d ms, bound %5d ms, ratio %.2f\n", i+1, x.Off, x.Took.Milliseconds(), x.Bound.Milliseconds(), float64(x.Took)/float64(x.Bound))
			}
		}
	}
	return b.String()
}

// run runs the jobs on all processors and prints their reports in order, as they come.
func run(w io.Writer, jobs []func() string) {
	results := make([]chan string, len(jobs))
	for i := range results {
		results[i] = make(chan string, 1)
	}
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	all.Go(func() {
		for i, job := range jobs {
			limit <- struct{}{}
			all.Go(func() {
				results[i] <- job()
				<-limit
			})
		}
	})
	for _, r := range results {
		fmt.Fprint(w, <-r)
	}
	all.Wait()
}
