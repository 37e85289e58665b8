package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is how long a process of the demo may take to stop cleanly.
const stopTimeout = 15 * time.Second

// record is a line of a JSON log.
type record map[string]any

func (r record) text(key string) string {
	s, _ := r[key].(string)
	return s
}

func (r record) number(key string) int64 {
	f, _ := r[key].(float64)
	return int64(f)
}

// process is a torrentfs of its own, followed through its JSON log.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and its log is read

	mu      sync.Mutex
	records map[string]record // guarded by mu: the last of each message
	changed chan struct{}     // guarded by mu: closed and replaced at each record
	peers   int64             // guarded by mu: the most that it was connected to
	failure record            // guarded by mu: the last error it logged
	err     error             // guarded by mu until done: how it ended
	stopped bool              // guarded by mu
}

// environment keeps the demo on this machine.
var environment = []string{"TORRENTFS_DISABLE_DHT=1", "TORRENTFS_DISABLE_LSD=1", "TORRENTFS_DISABLE_PORTMAP=1", "TORRENTFS_PROXY=", "TORRENTFS_BIND_INTERFACE="}

// start runs our own program with a JSON log.
func (d *demo) start(args ...string) (*process, error) {
	p := &process{
		name: args[0], done: make(chan struct{}), records: map[string]record{}, changed: make(chan struct{}),
		cmd: exec.Command(d.self, append([]string{"--log-format", "json"}, args...)...),
	}
	p.cmd.Args[0] = d.opt.Name
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.SysProcAttr = attributes()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go p.follow(stderr)
	return p, nil
}

// follow reads the log to its end, and then how the process ended.
func (p *process) follow(r io.Reader) {
	defer close(p.done)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var rec record
		if json.Unmarshal(lines.Bytes(), &rec) != nil {
			continue
		}
		p.mu.Lock()
		p.records[rec.text("msg")] = rec
		p.peers = max(p.peers, rec.number("peers"))
		if rec.text("level") == "ERROR" {
			p.failure = rec
		}
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	err := p.cmd.Wait()
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
}

// await returns the record of a message once it is there.
func (p *process) await(ctx context.Context, msg string) (record, error) {
	for {
		p.mu.Lock()
		rec, ok := p.records[msg]
		changed := p.changed
		p.mu.Unlock()
		if ok {
			return rec, nil
		}
		select {
		case <-changed:
		case <-p.done:
			if rec, ok := p.last(msg); ok {
				return rec, nil
			}
			return nil, p.ending()
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s to be ready: %w", p.name, context.Cause(ctx))
		}
	}
}

// next waits for a new record of a message.
func (p *process) next(ctx context.Context, msg string) (record, error) {
	p.mu.Lock()
	delete(p.records, msg)
	p.mu.Unlock()
	return p.await(ctx, msg)
}

// last returns the latest record of a message.
func (p *process) last(msg string) (record, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rec, ok := p.records[msg]
	return rec, ok
}

// mostPeers is the greatest number of peers that it reported.
func (p *process) mostPeers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.peers)
}

// ending is the error of a process that has ended by itself.
func (p *process) ending() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return processFailure(p.name, p.failure, p.err)
}

func processFailure(name string, logged record, err error) error {
	if logged != nil {
		return &Error{Kind: Program, Code: int(logged.number("exit_code")), Err: errors.New(logged.text("msg"))}
	}
	if err == nil {
		err = errors.New("it ended too early")
	}
	return fmt.Errorf("run torrentfs %s: %w", name, err)
}

// stop ends the process as Ctrl-C would and waits for it. It may be called
// twice, and on a nil process.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	again := p.stopped
	p.stopped = true
	p.mu.Unlock()
	if again {
		<-p.done
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		p.kill()
		<-p.done
		return fmt.Errorf("stop torrentfs %s: still running after %s", p.name, stopTimeout)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return processFailure(p.name, p.failure, p.err)
	}
	return nil
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }

// output runs our own program to its end and returns what it printed.
func (d *demo) output(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, d.self, append([]string{"--log-format", "json"}, args...)...)
	cmd.Args[0] = d.opt.Name
	cmd.Env = append(os.Environ(), environment...)
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = stopTimeout
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return string(out), nil
	}
	var logged record
	for line := range strings.Lines(stderr.String()) {
		var rec record
		if json.Unmarshal([]byte(line), &rec) == nil && rec.text("level") == "ERROR" {
			logged = rec
		}
	}
	return "", processFailure(args[0], logged, err)
}
