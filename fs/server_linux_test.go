package fs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"torrentfs/fs"
	"torrentfs/fs/mounttable"
)

// deadline bounds all that a test waits for. It makes no claim about speed.
const deadline = 20 * time.Second

// serverConfig tells a server what to mount.
type serverConfig struct {
	Dir           string // to mount on
	Data          string // for backing files
	Files         []fileConfig
	Bounce        fs.Bounce
	NoPassthrough bool
	AllowOther    bool
	Xattrs        bool
	SetXattr      bool
	DenyReaders   []string
	Owner         *fs.Owner
	Umask         uint32
	Many          int // more files, named many/000000 …
}

type fileConfig struct {
	Path       string
	Size       int64
	Missing    bool
	Memory     bool
	Complete   bool // has a backing file from the start
	Executable bool
	Symlink    string
	Delay      time.Duration
	NoHint     bool
	Rate       int64
	Fail       string
}

func (c *serverConfig) source() (*fakeSource, error) {
	s := newFakeSource()
	for i, f := range c.Files {
		d := s.add(f.Path, f.Size)
		s.entries[i].Executable, s.entries[i].Symlink = f.Executable, f.Symlink
		d.memory, d.delay, d.noHint, d.rate, d.fail = f.Memory, f.Delay, f.NoHint, f.Rate, f.Fail
		if f.Missing {
			d.missing()
		}
		if f.Memory {
			d.image = make([]byte, f.Size)
			pattern(d.image, d.seed, 0)
		}
		if f.Complete {
			if err := s.complete(i, c.Data); err != nil {
				return nil, err
			}
		}
	}
	for i := range c.Many {
		s.add(fmt.Sprintf("many/%06d", i), int64(i))
	}
	return s, nil
}

// xattrSource has an attribute that says what it was asked about, and one that can be set for
// files.
type xattrSource struct {
	*fakeSource
	colour *atomic.Pointer[string]
}

func newXattrSource(s *fakeSource) xattrSource {
	x := xattrSource{s, new(atomic.Pointer[string])}
	x.colour.Store(new(string))
	return x
}

func (x xattrSource) ListXattr(fs.Object) []string {
	return []string{"user.torrent.about", "user.torrent.colour", "trusted.secret"}
}

func (x xattrSource) GetXattr(o fs.Object, name string) ([]byte, bool) {
	if name == "user.torrent.colour" {
		return []byte(*x.colour.Load()), true
	}
	return fmt.Append(nil, o.Entry, o.Root, slices.Sorted(o.Below)), name == "user.torrent.about"
}

func (x xattrSource) SetXattr(o fs.Object, name string, value []byte) error {
	switch {
	case name != "user.torrent.colour":
		return errors.New("never changes")
	case string(value) == "none":
		return fmt.Errorf("%w: no colour", fs.ErrXattrValue)
	}
	s := string(value)
	x.colour.Store(&s)
	return nil
}

// serverMain mounts and obeys lines on stdin, each answered by one line on stdout.
func serverMain() {
	if err := serve(); err != nil {
		fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
		os.Exit(1)
	}
}

func serve() error {
	var c serverConfig
	if err := json.Unmarshal([]byte(os.Getenv("TORRENTFS_TEST_CONFIG")), &c); err != nil {
		return err
	}
	level := slog.LevelInfo
	if os.Getenv("TORRENTFS_TEST_DEBUG") != "" {
		level = slog.LevelDebug
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	source, err := c.source()
	if err != nil {
		return err
	}
	var src fs.Source = source
	if c.Xattrs {
		src = newXattrSource(source)
	}
	m, err := fs.Mount(context.Background(), c.Dir, src, fs.Options{
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		Bounce:        c.Bounce,
		NoPassthrough: c.NoPassthrough,
		AllowOther:    c.AllowOther,
		SetXattr:      c.SetXattr,
		DenyReaders:   c.DenyReaders,
		Owner:         c.Owner,
		Umask:         os.FileMode(c.Umask),
		Backing:       c.Data,
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
	}()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return m.Unmount(context.Background())
			}
			fmt.Println(obey(line, &c, source, m))
		case <-terminate:
			if err := m.Unmount(context.Background()); err != nil {
				return err
			}
			return m.Wait()
		}
	}
}

func obey(line string, c *serverConfig, s *fakeSource, m *fs.Mounted) string {
	verb, rest, _ := strings.Cut(line, " ")
	var i int
	var n int64
	_, _ = fmt.Sscan(rest, &i, &n)
	var err error
	switch verb {
	case "release":
		s.files[i].release(n)
	case "complete":
		err = s.complete(i, c.Data)
	case "spoil":
		err = s.spoil(i)
	case "stats":
		b, _ := json.Marshal(m.Stats())
		return string(b)
	case "blocks": // that were asked for
		s.files[i].mu.Lock()
		defer s.files[i].mu.Unlock()
		return fmt.Sprint(len(s.files[i].blocks))
	case "open":
		return fmt.Sprint(s.openFiles.Load())
	case "memory":
		var ms runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&ms)
		return fmt.Sprint(ms.HeapAlloc)
	case "unmount":
		if err = m.Unmount(context.Background()); err == nil {
			err = m.Wait()
		}
	case "wait": // until another program ends the mount
		err = m.Wait()
	case "leaks":
		// The goroutine that reads stdin, and those of signal.Notify, are the test's own.
		err = goleak.Find(goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"),
			goleak.IgnoreAnyFunction("torrentfs/fs_test.serve.func1"))
	case "fds":
		fds, _ := os.ReadDir("/proc/self/fd")
		return fmt.Sprint(len(fds))
	case "sh":
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		out, err := exec.CommandContext(ctx, "sh", "-c", rest).CombinedOutput()
		return fmt.Sprintf("%q %v", out, err)
	default:
		err = errors.ErrUnsupported
	}
	if err != nil {
		return "error " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
	return "ok"
}

// server is a mount in another process.
type server struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	ended chan struct{}
}

func requireFUSE(t testing.TB) {
	t.Helper()
	if os.Getenv("TORRENTFS_SKIP_FUSE") == "1" {
		t.Skip("TORRENTFS_SKIP_FUSE=1")
	}
	if runtime.GOOS != "linux" {
		t.Skip("these tests mount on Linux only")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Fatalf("these tests need FUSE: %v (TORRENTFS_SKIP_FUSE=1 leaves them out)", err)
	}
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("fusermount3"); err != nil {
			t.Fatalf("these tests need root or fusermount3: %v (TORRENTFS_SKIP_FUSE=1 leaves them out)", err)
		}
	}
}

// needRoot skips a test that only root can run. Its name ends in AsRoot: by that
// scripts/test.sh finds those that it runs through sudo for a plain user.
func needRoot(t *testing.T) {
	t.Helper()
	requireFUSE(t)
	if !strings.HasSuffix(t.Name(), "AsRoot") {
		t.Fatalf("name the test %sAsRoot: it needs root", t.Name())
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: go test -exec $PWD/scripts/as-root.sh ./fs")
	}
}

// startServer mounts in a process of its own and fails the test if it leaves anything behind.
func startServer(t *testing.T, c serverConfig) *server {
	t.Helper()
	return startServerAs(t, c, nil)
}

func startServerAs(t *testing.T, c serverConfig, wrap func(*exec.Cmd)) *server {
	t.Helper()
	requireFUSE(t)
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Data == "" {
		c.Data = t.TempDir()
	}
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: c.Dir, cmd: exec.Command(self), ended: make(chan struct{})}
	// The race detector would have each server sleep for a second at its end.
	s.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "TORRENTFS_TEST_ROLE=server", "TORRENTFS_TEST_CONFIG="+string(config))
	s.cmd.Stderr = os.Stderr
	if wrap != nil {
		wrap(s.cmd)
	}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout = w
	s.out = bufio.NewScanner(out)
	s.out.Buffer(nil, 1<<20)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	go func() {
		defer close(s.ended)
		_ = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		s.stop()
		out.Close()
	})
	if got := s.line(); got != "ready" {
		t.Fatalf("mount: %s", got)
	}
	return s
}

// line reads the server's next answer; a server that gives none is killed, which frees what waits
// on its mount.
func (s *server) line() string {
	watchdog := time.AfterFunc(deadline, func() { _ = s.cmd.Process.Kill() })
	defer watchdog.Stop()
	if !s.out.Scan() {
		return "error: server gave no answer"
	}
	return s.out.Text()
}

func (s *server) ask(format string, args ...any) string {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.in, format+"\n", args...); err != nil {
		s.t.Fatalf("tell server: %v", err)
	}
	answer := s.line()
	if strings.HasPrefix(answer, "error") {
		s.t.Errorf("%s: %s", fmt.Sprintf(format, args...), answer)
	}
	return answer
}

func (s *server) stats() (st fs.Stats) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.ask("stats")), &st); err != nil {
		s.t.Fatal(err)
	}
	return st
}

func (s *server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// wait waits for the server to end.
func (s *server) wait() bool {
	select {
	case <-s.ended:
		return true
	case <-time.After(deadline):
		return false
	}
}

func (s *server) stop() {
	s.in.Close()
	if !s.wait() {
		s.t.Error("server did not end")
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	if mounted(s.dir) {
		s.t.Errorf("%s is still mounted", s.dir)
		_ = exec.Command("umount", "-l", s.dir).Run()
	}
}

func mounted(dir string) bool {
	table, _ := mounttable.Own()
	_, ok := mounttable.At(table, dir)
	return ok
}

// within runs f and fails the test if it hangs. The goroutine ends when the test's server does.
func within(t *testing.T, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(deadline):
		t.Fatalf("%s: hung", what)
		return nil
	}
}

// must is within for what has to succeed.
func must(t *testing.T, what string, f func() error) {
	t.Helper()
	if err := within(t, what, f); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// checkBytes compares what was read of the fake file with that seed.
func checkBytes(got []byte, seed uint64, off int64) error {
	want := make([]byte, len(got))
	pattern(want, seed, off)
	if string(got) == string(want) {
		return nil
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("byte %d is %#x, want %#x", off+int64(i), got[i], want[i])
		}
	}
	return nil
}
