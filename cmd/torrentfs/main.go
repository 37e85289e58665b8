package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"torrentfs/cmd/torrentfs/internal/ui"
)

func main() {
	// The kernel sends signals to the first thread. That one must not be stuck
	// in a read of a disk that hangs: so only this goroutine runs on it, which
	// waits for others.
	runtime.LockOSThread()
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit code.
func run(args []string, stdin io.Reader, stdout io.Writer, stderr *os.File) int {
	a := &app{stdin: stdin, stdout: stdout, term: ui.NewTerminal(stderr)}
	defer a.close()
	ctx, stop := untilSignal(context.Background(), a.leaveAtOnce)
	defer stop()
	a.args = asMountHelper(args)
	return a.finish(a.run(ctx))
}

// endingSignals ask us to end. Without a handler the last two would end the
// process at once, and leave a dead mount behind; all signals that are not here
// are either ignored by Go's runtime, or stop the process, or tell that it is
// broken.
var endingSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT}

// untilSignal returns a context that ends at the first of endingSignals. A
// second one ends the process at once, after hasty: whoever presses Ctrl-C twice
// does not want to wait for a clean stop any longer.
func untilSignal(parent context.Context, hasty func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	for _, s := range endingSignals {
		// nohup wants us to outlive the terminal, and shells want it of what they start in the background.
		if s != syscall.SIGHUP && s != syscall.SIGQUIT || !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-done:
			return
		}
		select {
		case <-signals:
			hasty()
			os.Exit(int(exitInterrupted))
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-finished
		cancel(nil)
	}
}

// outliveReaders lets a program that runs for long go on when whoever read its
// log is gone, and write to its terminal from the background. Other programs end
// quietly, as `torrentfs info x | head -1` should.
func outliveReaders() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // not ignored: programs that we start inherit that
	signal.Ignore(syscall.SIGTTOU)
	ignoreReserved()
}
