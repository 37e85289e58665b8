package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
)

// readyVariable names the descriptor on which a daemon tells its parent that
// it is ready, or why it will never be. On the next one it hears that its parent
// has given up.
const readyVariable = "TORRENTFS_READY_FD"

// readyPipe is the daemon's end of the pipe to its parent. A nil pipe, in a
// process that is no daemon, does nothing.
type readyPipe struct {
	w       *os.File
	gone    *os.File    // ends when the parent gives up, or has ended
	leaving atomic.Bool // the daemon needs its parent no longer
}

// readyMessage is what goes through the pipe: any number of times what is
// waited for, then once how it ended.
type readyMessage struct {
	Waiting string   `json:"waiting,omitempty"` // not ready yet; another message follows
	Error   string   `json:"error,omitempty"`
	Code    exitCode `json:"code"`
}

// inheritedReadyPipe returns the pipe that a parent left us, nil if there is
// none. The variable is removed, so that nothing we start takes it for its own.
func inheritedReadyPipe() (*readyPipe, error) {
	value := os.Getenv(readyVariable)
	if value == "" {
		return nil, nil
	}
	if err := os.Unsetenv(readyVariable); err != nil {
		return nil, fmt.Errorf("clear %s: %w", readyVariable, err)
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil, fail(exitUsage, "unset it", "parse environment: %s=%q is no descriptor", readyVariable, value)
	}
	syscall.CloseOnExec(fd)
	syscall.CloseOnExec(fd + 1)
	return &readyPipe{w: os.NewFile(uintptr(fd), "ready pipe"), gone: os.NewFile(uintptr(fd+1), "life of the parent")}, nil
}

// heed returns a context that ends also when the parent gives up before ok.
func (p *readyPipe) heed(parent context.Context) context.Context {
	if p == nil {
		return parent
	}
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		defer p.gone.Close()                //nolint:errcheck // nobody wrote to it
		_, _ = p.gone.Read(make([]byte, 1)) // nothing comes but its end
		if !p.leaving.Load() {
			cancel(errInterrupted)
		}
	}()
	return ctx
}

// ok tells the parent that it may return, in a session of our own from now on.
// Until it mounts, a daemon stays in the process group that it was started in: an
// automount lets only its own group through to the directory.
func (p *readyPipe) ok() error {
	if p == nil || p.w == nil {
		return nil
	}
	p.leaving.Store(true)
	_, err := syscall.Setsid()
	return errors.Join(os.NewSyscallError("setsid", err), p.send(readyMessage{}))
}

// failed tells the parent what to say and which code to return. After ok it
// does nothing: nobody listens any more.
func (p *readyPipe) failed(code exitCode, err error) {
	_ = p.send(readyMessage{Error: err.Error(), Code: code})
}

// waiting tells the parent what we wait for. It must not be called after ok.
func (p *readyPipe) waiting(text string) {
	if p != nil && p.w != nil {
		_ = json.NewEncoder(p.w).Encode(readyMessage{Waiting: text}) // a parent that has gone is no reason to stop
	}
}

func (p *readyPipe) send(m readyMessage) error {
	if p == nil || p.w == nil {
		return nil
	}
	w := p.w
	p.w = nil
	return errors.Join(json.NewEncoder(w).Encode(m), w.Close())
}

// daemonize runs this very command line again as a process that outlives us
// and returns when that process says that its mount is ready; the errors of
// the child become ours.
func (a *app) daemonize(ctx context.Context, torrent, mountpoint string) error {
	logName, err := a.daemonLog(torrent)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	defer r.Close() //nolint:errcheck // read end of a pipe
	gone, life, err := os.Pipe()
	if err != nil {
		return errors.Join(fmt.Errorf("start daemon: %w", err), w.Close())
	}
	defer life.Close() //nolint:errcheck // nothing is written to it
	cmd, err := a.startDaemon(w, gone, logName)
	if err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	// Not by a signal: those of the terminal reach the daemon, too, and a second one ends it at once.
	stop := context.AfterFunc(ctx, func() { _ = life.Close() })
	defer stop()
	if err := a.awaitReady(r, cmd); err != nil {
		return err
	}
	a.log.Info("mounted", "mountpoint", mountpoint, "pid", cmd.Process.Pid, "log", logName)
	return cmd.Process.Release()
}

func (a *app) startDaemon(ready, gone *os.File, logName string) (*exec.Cmd, error) {
	defer ready.Close() //nolint:errcheck // the child has its own copy
	defer gone.Close()  //nolint:errcheck // likewise
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := a.args[1:]
	if a.logFile == nil {
		args = append([]string{"--log-file", logName}, args...)
	}
	cmd := exec.Command(self, args...) // not bound to ctx: it outlives us
	cmd.Args[0] = a.args[0]
	cmd.Env = append(os.Environ(), readyVariable+"=3")
	cmd.ExtraFiles = []*os.File{ready, gone}
	return cmd, cmd.Start()
}

// daemonLog is the file for what a daemon has to say: that of --log-file, else
// one in the user's state directory.
func (a *app) daemonLog(torrent string) (string, error) {
	if a.logFile != nil {
		return a.logFile.Name(), nil
	}
	dir, ok := logDir()
	if !ok {
		// mount(8) may run us without a home directory; then without a log.
		return os.DevNull, nil
	}
	return filepath.Join(dir, torrent+".log"), nil
}

// logDir is the directory of the daemons' logs.
func logDir() (dir string, ok bool) {
	base := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(base) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", false
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "torrentfs"), true
}

// awaitReady waits for the daemon's message. If it ends without one, that is
// the error.
func (a *app) awaitReady(r io.Reader, cmd *exec.Cmd) error {
	m, err := a.readyMessage(json.NewDecoder(r))
	if err != nil {
		state := "it ended without a word"
		if werr := cmd.Wait(); werr != nil {
			state = werr.Error()
		}
		return fail(exitGeneral, "run it without --daemon to see more", "start daemon: %s", state)
	}
	if m.Error != "" {
		_ = cmd.Wait()
		return &failure{code: m.Code, err: errors.New(m.Error)}
	}
	return nil
}

// readyMessage shows what the daemon waits for until it says how that ended.
func (a *app) readyMessage(from *json.Decoder) (m readyMessage, err error) {
	if err := from.Decode(&m); err != nil || m.Waiting == "" {
		return m, err
	}
	var line atomic.Pointer[string]
	line.Store(&m.Waiting)
	if a.watched() {
		defer a.term.ShowLine(func() string { return *line.Load() })()
	} else {
		a.log.Info(m.Waiting)
	}
	for {
		var m readyMessage
		if err := from.Decode(&m); err != nil || m.Waiting == "" {
			return m, err
		}
		line.Store(&m.Waiting)
	}
}
