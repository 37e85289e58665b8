package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"torrentfs/internal/fakepeer"
	"torrentfs/metainfo"
)

// poisonOf is poison that can be recognised by the mark before it, which each
// way in has of its own.
func poisonOf(mark string) string { return "<" + mark + ">" + poison }

// waysIn are the marks of what strangers say while a torrent is downloaded.
// Each is to be seen in every mode, or the test would not test that way. The
// URL of a tracker is not among them: it may hold a secret, and is not shown.
var waysIn = []string{
	"name", "failure", "warning", "status", "client", "webseed", "data-dir",
}

// TestPoison sends harmful text through every way in, and looks at every way
// out: standard output and error as a terminal and as a pipe, the log as text,
// as JSON and in a file, what info, verify and create print, attributes and
// names of a mount.
func TestPoison(t *testing.T) {
	w := newPoisonWorld(t)
	t.Run("commands", w.testCommands)
	for _, mode := range []string{"terminal", "text", "json", "file"} {
		t.Run("download to "+mode, func(t *testing.T) { w.testDownload(t, mode) })
	}
	t.Run("mount", w.testMount)
}

// poisonWorld is a torrent full of poison, and the servers that it leads to.
type poisonWorld struct {
	dir     string
	torrent string // its file
	meta    *metainfo.MetaInfo
	peer    string // address of one that sends wrong data
	proxy   string
	web     string // answers everything with a poisoned status
	env     []string
}

func newPoisonWorld(t *testing.T) *poisonWorld {
	t.Helper()
	w := &poisonWorld{dir: filepath.Join(t.TempDir(), poisonOf("dir"))}
	for _, d := range []string{"", "data", "source"} {
		must(t, os.MkdirAll(filepath.Join(w.dir, d), 0o755))
	}
	w.env = append(os.Environ(), "HOME="+w.dir, "XDG_CACHE_HOME="+w.dir, "XDG_STATE_HOME="+w.dir, "TERM=xterm-256color",
		"TORRENTFS_DISABLE_DHT=1", "TORRENTFS_DISABLE_LSD=1", "TORRENTFS_DISABLE_PORTMAP=1")
	text := func(key, mark string) string {
		s := poisonOf(mark)
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nd%d:%s%d:%s5:peers0:8:intervali60ee", len(key), key, len(s), s)
	}
	failing := rawServer(t, strings.Replace(text("failure reason", "failure"), "5:peers0:8:intervali60e", "", 1))
	warning := rawServer(t, strings.Replace(strings.Replace(text("warning message", "warning"), "5:peers0:8:intervali60e", "", 1), "d15:", "d8:intervali60e5:peers0:15:", 1))
	w.web = rawServer(t, "HTTP/1.1 503 "+poisonOf("status")+"\r\nContent-Length: 0\r\n\r\n")
	seed := rawServer(t, "HTTP/1.1 302 "+poisonOf("webseed")+"\r\nLocation: ftp://"+poisonOf("webseed")+"/\r\nContent-Length: 0\r\n\r\n")
	w.proxy = rawServer(t, "HTTP/1.1 403 "+poisonOf("proxy")+"\r\nContent-Length: 0\r\n\r\n")

	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	raw, err := metainfo.Create(t.Context(), metainfo.CreateSpec{
		Name: poisonOf("name"), PieceLength: 64 << 10, Comment: poisonOf("comment"), CreatedBy: poisonOf("creator"), Source: poisonOf("source"),
		Trackers: [][]string{
			{poisonOf("tracker-url")},
			{"http://" + poisonOf("tracker-host") + ".invalid/announce"},
			{"http://" + w.web + "/announce"},
			{"http://" + failing + "/announce"},
			{"http://" + warning + "/announce"}, // it answers: no other is asked after it
		},
		WebSeeds: []string{"http://" + seed + "/x", poisonOf("seed-url")}, Nodes: []string{poisonOf("node") + ":1"},
		Files: []metainfo.SourceFile{{
			Path: []string{poisonOf("folder"), poisonOf("file")}, Length: int64(len(content)),
			Open: func() (metainfo.Content, error) { return nopContent{bytes.NewReader(content)}, nil },
		}},
	})
	must(t, err)
	w.meta, err = metainfo.Parse(raw, metainfo.Limits{})
	must(t, err)
	w.torrent = filepath.Join(w.dir, poisonOf("torrent")+".torrent")
	must(t, os.WriteFile(w.torrent, raw, 0o644))
	must(t, os.WriteFile(filepath.Join(w.dir, "source", poisonOf("on-disk")), content, 0o644))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := fakepeer.New(fakepeer.Options{
		InfoHash: w.meta.Info.Hash.Wire(), Name: poisonOf("client"), Size: int64(len(content)), PieceLength: 64 << 10,
		Content: bytes.NewReader(content), Behaviours: []fakepeer.Behaviour{fakepeer.Corrupt(func(fakepeer.Block) bool { return true })},
	})
	p.Serve(l)
	t.Cleanup(p.Close)
	w.peer = l.Addr().String()
	return w
}

type nopContent struct{ *bytes.Reader }

func (nopContent) Close() error { return nil }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rawServer answers whatever it is asked with the same bytes.
func rawServer(t *testing.T, answer string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close() //nolint:errcheck // nothing is lost
				_ = c.SetDeadline(time.Now().Add(10 * time.Second))
				for got, buf := "", make([]byte, 4096); !strings.Contains(got, "\r\n\r\n"); {
					n, err := c.Read(buf)
					if got += string(buf[:n]); err != nil {
						return
					}
				}
				_, _ = io.WriteString(c, answer)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// testCommands runs what ends by itself.
func (w *poisonWorld) testCommands(t *testing.T) {
	link := "magnet:?xt=urn:btih:" + strings.Repeat("0", 40)
	for _, m := range []string{"dn", "tr", "ws", "x.pe"} {
		link += "&" + m + "=" + escapeAll(poisonOf(m))
	}
	for name, tt := range map[string]struct {
		args []string
		json bool
		want []string
	}{
		"info":          {[]string{"info", w.torrent}, false, []string{"name", "comment", "creator", "tracker-url", "seed-url", "folder", "file"}},
		"info json":     {[]string{"info", "--json", w.torrent}, true, []string{"name", "comment", "creator", "tracker-url", "seed-url", "folder", "file"}},
		"link":          {[]string{"info", link}, false, []string{"dn", "tr", "ws", "x.pe"}},
		"link json":     {[]string{"info", "--json", link}, true, []string{"dn", "tr", "ws", "x.pe"}},
		"verify":        {[]string{"verify", w.torrent, "-d", w.dir}, false, []string{"name", "file"}},
		"verify json":   {[]string{"verify", "--json", w.torrent, "-d", w.dir}, false, []string{"file"}},
		"create":        {[]string{"create", filepath.Join(w.dir, "source"), "-o", filepath.Join(w.dir, poisonOf("output"))}, false, []string{"output"}},
		"no torrent":    {[]string{"info", filepath.Join(w.dir, "source", poisonOf("on-disk"))}, false, []string{"on-disk"}},
		"no file":       {[]string{"info", poisonOf("missing")}, false, []string{"missing"}},
		"no command":    {[]string{poisonOf("command")}, false, []string{"command"}},
		"no flag":       {[]string{"info", "--" + poisonOf("flag"), "x"}, false, []string{"flag"}},
		"no link":       {[]string{"info", "magnet:?xt=urn:btih:" + poisonOf("hash")}, false, []string{"hash"}},
		"status of URL": {[]string{"info", "http://" + w.web + "/t.torrent"}, false, []string{"status"}},
		"proxy":         {[]string{"info", "--proxy", "http://" + w.proxy, "http://192.0.2.1/t.torrent"}, false, nil},
		"blocklist":     {[]string{"download", w.torrent, "--blocklist", filepath.Join(w.dir, "source"), "-d", w.dir}, false, []string{"dir"}},
	} {
		for _, mode := range []string{"pipe", "terminal"} {
			out := w.run(t, mode, tt.args...)
			checkHarmless(t, name+" to a "+mode, out, mode == "terminal")
			for _, mark := range tt.want {
				if !strings.Contains(out, "<"+mark+">") {
					t.Errorf("%s: what came by %q is missing: %s", name, mark, out)
				}
			}
			if i := strings.Index(out, "{\n"); tt.json && mode == "pipe" && (i < 0 || !json.Valid([]byte(out[i:]))) {
				t.Errorf("%s: no JSON: %s", name, out)
			}
		}
	}
}

func escapeAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

// run returns all that a command writes to a pipe or a terminal. It must end by
// itself.
func (w *poisonWorld) run(t *testing.T, mode string, args ...string) string {
	t.Helper()
	return w.start(t, mode, args...).end()
}

// start starts a command on a pipe or a terminal.
func (w *poisonWorld) start(t *testing.T, mode string, args ...string) *runningCommand {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	program := "torrentfs" // TestMain puts it on the PATH
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir = w.env, filepath.Join(w.dir, "data")
	r, out := openOutput(t, mode == "terminal")
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	_ = out.Close()
	text := &sharedBuffer{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(text, r) // a terminal whose other end closes is an error
	}()
	t.Cleanup(func() { _ = r.Close() })
	return &runningCommand{Cmd: cmd, output: text, done: done}
}

// runningCommand is a command that runs, and what it has written so far.
type runningCommand struct {
	*exec.Cmd
	output *sharedBuffer
	done   chan struct{}
}

// end waits for the command, and returns all that it wrote.
func (p *runningCommand) end() string {
	_ = p.Wait() // most of them fail
	<-p.done
	return p.output.String()
}

// sharedBuffer is read while it is written.
type sharedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *sharedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *sharedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// openOutput is a pipe, or the two ends of a terminal.
func openOutput(t *testing.T, terminal bool) (r, w *os.File) {
	t.Helper()
	if !terminal {
		r, w, err := os.Pipe()
		must(t, err)
		return r, w
	}
	r, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	must(t, err)
	must(t, unix.IoctlSetPointerInt(int(r.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCGPTN)
	must(t, err)
	w, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	must(t, unix.IoctlSetWinsize(int(w.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 400}))
	return r, w
}

// testDownload runs a download, which gets nothing right, until all that
// strangers say has come out.
func (w *poisonWorld) testDownload(t *testing.T, mode string) {
	data := filepath.Join(w.dir, poisonOf("data-dir")+mode)
	args := []string{
		"download", w.torrent, "-d", data, "--peer", w.peer, "--log-level", "debug", "--trust-host", "127.0.0.1",
		"--listen-port", "0", "--encryption", "disable", "--disable-utp", "--status-interval", "100ms",
	}
	log := ""
	switch mode {
	case "json":
		args = append(args, "--log-format", "json")
	case "file":
		log = filepath.Join(w.dir, "log")
		args = append(args, "--log-file", log)
	}
	run := w.start(t, mode, args...)
	said := func() string {
		logged, _ := os.ReadFile(log) // it may not be there yet
		return run.output.String() + string(logged)
	}
	missing := func() (marks []string) {
		text := said()
		for _, mark := range waysIn {
			if !strings.Contains(text, "<"+mark+">") {
				marks = append(marks, mark)
			}
		}
		return marks
	}
	deadline := time.Now().Add(scriptPatience)
	for len(missing()) > 0 && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if m := missing(); len(m) > 0 {
		t.Errorf("what came by %q was to be seen nowhere", m)
	}
	_ = run.Process.Signal(os.Interrupt)
	printed := run.end()
	checkHarmless(t, "download to "+mode, said(), mode == "terminal")
	if mode == "json" {
		for line := range strings.Lines(printed) {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %q", line)
			}
		}
	}
}

// testMount looks at the names and the attributes of a mount.
func (w *poisonWorld) testMount(t *testing.T) {
	if ok, err := scriptCondition("fuse"); err != nil || !ok {
		t.Skip("no FUSE: ", err)
	}
	mnt := filepath.Join(w.dir, "mnt")
	must(t, os.MkdirAll(mnt, 0o755))
	run := w.start(t, "pipe", "mount", w.torrent, mnt, "-d", filepath.Join(w.dir, "data"), "--listen-port", "0", "--no-prefetch", "--trust-host", "127.0.0.1", "--log-level", "debug")
	t.Cleanup(func() { _ = exec.Command("fusermount3", "-u", "-z", "-q", mnt).Run() })
	dir := ""
	for deadline := time.Now().Add(scriptPatience); dir == "" && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if entries, _ := os.ReadDir(mnt); len(entries) > 0 {
			dir = mnt
		}
	}
	if dir == "" {
		_ = run.Process.Kill()
		t.Fatal("nothing was mounted: ", run.end())
	}
	objects, values := 0, 0
	must(t, filepath.WalkDir(mnt, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		objects++
		if path != mnt {
			checkHarmless(t, "a name in the mount", d.Name(), false)
		}
		for _, name := range []string{"state", "waiting", "on_unavailable", "info_hash", "trackers", "tracker_error", "tracker_status", "name", "comment"} {
			buf := make([]byte, 64<<10)
			if n, err := unix.Getxattr(path, "user.torrent."+name, buf); err == nil {
				values++
				checkHarmless(t, "attribute "+name, string(buf[:n]), false)
			}
		}
		return nil
	}))
	_ = run.Process.Signal(os.Interrupt)
	checkHarmless(t, "mount", run.end(), false)
	if objects < 3 || values < objects {
		t.Errorf("%d files and folders with %d attributes", objects, values)
	}
}
