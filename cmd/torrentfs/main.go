package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
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
	ctx, stop := untilSignal(context.Background())
	defer stop()
	a := &app{stdin: stdin, stdout: stdout, term: newTerminal(stderr)}
	defer a.close()
	a.args = asMountHelper(args)
	return a.finish(a.run(ctx))
}

// untilSignal returns a context that ends at the first SIGINT, SIGTERM or
// SIGHUP. A second one ends the process at once: whoever presses Ctrl-C twice
// does not want to wait for a clean stop any longer.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup wants us to outlive the terminal
		signal.Notify(signals, syscall.SIGHUP)
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
