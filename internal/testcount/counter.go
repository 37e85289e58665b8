package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// counter follows the events of all runs.
type counter struct {
	w                       io.Writer
	passed, failed, skipped int

	run     string               // the run under way, as named by its start
	before  int                  // failed when it began
	outputs map[[2]string]string // by package and test ("" = the package's own)
	builds  map[string]string    // compiler output by import path
	tests   map[string]int       // tests of a package so far
	broken  map[string]bool      // packages with a failed test
}

// count reads events from r until its end and writes the report to w.
func count(r io.Reader, w io.Writer) (failed bool, err error) {
	c := &counter{
		w: w, outputs: map[[2]string]string{}, builds: map[string]string{},
		tests: map[string]int{}, broken: map[string]bool{},
	}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			c.line(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return true, fmt.Errorf("read events: %w", err)
		}
	}
	if c.run != "" { // the writer of the events died in the middle of a run
		c.exit(event{Package: c.run, Status: 1})
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	return c.failed > 0 || c.passed == 0, nil
}

func (c *counter) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		fmt.Fprintf(c.w, "%s", line) // not an event: the go command's own words
		return
	}
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "output":
		c.outputs[key] += e.Output
	case "build-output":
		c.builds[e.ImportPath] += e.Output
	case "suite-start":
		c.run, c.before = e.Package, c.failed
	case "suite-exit":
		c.exit(e)
	case "pass", "fail", "skip":
		if e.Test != "" {
			c.test(e)
		} else {
			c.pkg(e)
		}
		delete(c.outputs, key)
	}
}

// test counts one test, subtest, fuzz target or check.
func (c *counter) test(e event) {
	c.tests[e.Package]++
	output := c.outputs[[2]string{e.Package, e.Test}]
	switch e.Action {
	case "pass":
		c.passed++
		if e.Package == checks {
			fmt.Fprintf(c.w, "ok    %s\n", e.Test)
		}
	case "skip":
		c.skipped++
		fmt.Fprintf(c.w, "skip  %s %s: %s\n", e.Package, e.Test, reason(output))
	case "fail":
		c.failed++
		c.broken[e.Package] = true
		fmt.Fprintf(c.w, "FAIL  %s %s\n%s", e.Package, e.Test, indent(output))
	}
}

// pkg closes a package. One that fails without a failed test (it does not
// compile, panicked, leaked or ran out of time) counts as one failure.
func (c *counter) pkg(e event) {
	output := c.outputs[[2]string{e.Package, ""}]
	switch {
	case e.Action == "fail" && !c.broken[e.Package]:
		c.failed++
		fmt.Fprintf(c.w, "FAIL  %s\n%s%s", e.Package, indent(c.builds[e.FailedBuild]), indent(output))
	case e.Action == "fail":
		fmt.Fprintf(c.w, "FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
	case c.tests[e.Package] > 0:
		fmt.Fprintf(c.w, "ok    %s  %d in %.1fs\n", c.label(e.Package), c.tests[e.Package], e.Elapsed)
	}
	delete(c.tests, e.Package)
	delete(c.broken, e.Package)
}

// label names a package, and the run if there are several.
func (c *counter) label(pkg string) string {
	if strings.HasPrefix(c.run, "Fuzz") {
		return pkg + " " + c.run
	}
	return pkg
}

// exit closes a run.
func (c *counter) exit(e event) {
	if e.Status != 0 && c.failed == c.before {
		c.failed++
		fmt.Fprintf(c.w, "FAIL  %s: the run ended with status %d\n", e.Package, e.Status)
		for path, output := range c.builds {
			fmt.Fprintf(c.w, "      %s\n%s", path, indent(output))
		}
	}
	c.run = ""
	clear(c.builds)
}

// reason is what a skipped test said last.
func reason(output string) string {
	last := ""
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			last = line
		}
	}
	return last
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("      " + strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}
