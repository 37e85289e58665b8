//go:build linux

package harness

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"time"
)

// output is what a process writes to one of its descriptors, line by line. Any
// goroutine may read it while the process writes.
type output struct {
	mu      sync.Mutex
	data    []byte
	ended   bool
	changed chan struct{} // closed at the next change
}

func NewOutput() *output { return &output{changed: make(chan struct{})} }

// Write takes what the process wrote.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data = append(o.data, p...)
	o.wake()
	return len(p), nil
}

// end says that nothing will follow.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.wake()
}

func (o *output) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *output) Text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.data)
}

// take returns what was written and keeps none of it: a test that reads for an
// hour would fill the memory.
func (o *output) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	data := o.data
	o.data = nil
	return data
}

// Tail is the last n lines. Of status lines that follow each other it has only
// the last: there are many, and they push out what one looks for.
func (o *output) Tail(n int) string {
	lines := strings.SplitAfter(o.Text(), "\n")
	isStatus := func(line string) bool { return strings.Contains(line, `"msg":"status"`) }
	var kept []string
	for i, line := range lines {
		if !isStatus(line) || i+1 == len(lines) || !isStatus(lines[i+1]) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-n-1):], "")
}

// find waits for a line that match accepts. It gives up when the output ends
// or patience does.
func (o *output) find(match func(line []byte) bool) bool {
	timeout := time.After(Patience)
	for from := 0; ; {
		o.mu.Lock()
		data, ended, changed := o.data, o.ended, o.changed
		o.mu.Unlock()
		for {
			line, _, ok := bytes.Cut(data[from:], []byte("\n"))
			if !ok {
				break
			}
			if match(line) {
				return true
			}
			from += len(line) + 1
		}
		if ended {
			return false
		}
		select {
		case <-changed:
		case <-timeout:
			return false
		}
	}
}

// Record is a line of a JSON log.
type Record map[string]any

// Number is a field that is a number, 0 where it is absent.
func (r Record) Number(field string) int64 {
	n, _ := r[field].(float64)
	return int64(n)
}

// Logged waits for a line of the JSON log whose message is msg and that holds
// accepts; nil accepts every one.
func (p *Process) Logged(msg string, holds func(Record) bool) Record {
	p.T.Helper()
	var found Record
	ok := p.Stderr.find(func(line []byte) bool {
		var r Record
		if json.Unmarshal(line, &r) != nil || r["msg"] != msg || holds != nil && !holds(r) {
			return false
		}
		found = r
		return true
	})
	if !ok {
		p.T.Fatalf("%s: no line %q as expected in its log:\n%s", p.What, msg, p.Stderr.Tail(30))
	}
	return found
}

// EverLogged reports whether the log has such a line by now.
func (p *Process) EverLogged(msg string, holds func(Record) bool) bool {
	for line := range strings.Lines(p.Stderr.Text()) {
		var r Record
		if json.Unmarshal([]byte(line), &r) == nil && r["msg"] == msg && holds(r) {
			return true
		}
	}
	return false
}

// Says waits for a line of the log that holds all of the texts.
func (p *Process) Says(texts ...string) {
	p.T.Helper()
	ok := p.Stderr.find(func(line []byte) bool {
		for _, text := range texts {
			if !bytes.Contains(line, []byte(text)) {
				return false
			}
		}
		return true
	})
	if !ok {
		p.T.Fatalf("%s: no line with %q in its log:\n%s", p.What, texts, p.Stderr.Tail(30))
	}
}
