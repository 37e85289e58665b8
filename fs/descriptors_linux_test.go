package fs

import (
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is closed while a thread has its own descriptor table, or after it, is closed: the other end
// hears of it.
func TestApartKeepsNothingOpen(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- withOwnDescriptors(func() error {
			close(inside)
			<-leave
			return nil
		})
	}()
	<-inside
	if err := near.Close(); err != nil {
		t.Error(err)
	}
	if err := far.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Error(err)
	}
	if n, err := far.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v, want the end", n, err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The runtime works on after the main thread, which cannot end, got its own descriptor table.
func TestApartOnEveryThread(t *testing.T) {
	for range 4 * runtime.GOMAXPROCS(0) {
		if err := withOwnDescriptors(func() error {
			if unix.Gettid() == os.Getpid() {
				t.Log("on the main thread")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		runtime.Gosched()
		_ = w.Close()
	}()
	if _, err := r.Read(make([]byte, 1)); err != io.EOF { // through the poller
		t.Error(err)
	}
}
