package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	kind := flag.String("event", "", "write one event (pass, fail, start or exit) instead of counting")
	name := flag.String("name", "", "what the event is about")
	status := flag.Int("status", 0, "exit status of a run that ends, for -event exit")
	flag.Parse()
	var err error
	failed := false
	if *kind != "" {
		err = writeEvents(os.Stdout, os.Stdin, *kind, *name, *status)
	} else {
		failed, err = count(os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(1)
	}
	if failed {
		os.Exit(1)
	}
}

// event is a line of `go test -json` (see `go doc test2json`), or one of ours:
// suite-start and suite-exit around each run.
type event struct {
	Action  string
	Package string  `json:",omitempty"`
	Test    string  `json:",omitempty"`
	Elapsed float64 `json:",omitempty"` // seconds
	Output  string  `json:",omitempty"`
	Status  int     `json:",omitempty"` // of suite-exit

	ImportPath  string `json:",omitempty"` // of build-output
	FailedBuild string `json:",omitempty"`
}

// checks is the package name under which checks are counted.
const checks = "check"

// writeEvents writes the events of one check, whose output is read from r, or
// of the start or exit of a run.
func writeEvents(w io.Writer, r io.Reader, kind, name string, status int) error {
	enc := json.NewEncoder(w)
	switch kind {
	case "start", "exit":
		return enc.Encode(event{Action: "suite-" + kind, Package: name, Status: status})
	case "pass", "fail":
		output, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("read output of %s: %w", name, err)
		}
		if err := enc.Encode(event{Action: "output", Package: checks, Test: name, Output: string(output)}); err != nil {
			return err
		}
		return enc.Encode(event{Action: kind, Package: checks, Test: name})
	}
	return fmt.Errorf("write event: unknown kind %q", kind)
}
