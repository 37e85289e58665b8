package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	tests := []struct {
		name   string
		events string
		failed bool
		want   []string // in the report, in this order
	}{
		{
			name: "passes, subtests and skips are counted",
			events: `{"Action":"start","Package":"m/p"}
{"Action":"pass","Package":"m/p","Test":"TestA/one"}
{"Action":"pass","Package":"m/p","Test":"TestA"}
{"Action":"output","Package":"m/p","Test":"TestB","Output":"    b_test.go:3: no corpus here\n"}
{"Action":"output","Package":"m/p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"m/p","Test":"TestB"}
{"Action":"pass","Package":"m/p","Elapsed":1.5}
`,
			want: []string{"TestB: b_test.go:3: no corpus here", "ok    m/p  3 in 1.5s", "2 passed, 0 failed, 1 skipped"},
		},
		{
			name: "a failed test shows its output and its package counts no second time",
			events: `{"Action":"pass","Package":"m/p","Test":"TestB"}
{"Action":"output","Package":"m/p","Test":"TestA","Output":"want 1, got 2\n"}
{"Action":"fail","Package":"m/p","Test":"TestA"}
{"Action":"fail","Package":"m/p"}
`,
			failed: true,
			want:   []string{"FAIL  m/p TestA", "      want 1, got 2", "1 passed, 1 failed, 0 skipped"},
		},
		{
			name: "a package that fails without a failed test counts as one",
			events: `{"Action":"pass","Package":"m/p","Test":"TestA"}
{"Action":"output","Package":"m/p","Output":"goleak: found 1 leak\n"}
{"Action":"fail","Package":"m/p"}
`,
			failed: true,
			want:   []string{"      goleak: found 1 leak", "1 passed, 1 failed, 0 skipped"},
		},
		{
			name: "a package that does not compile shows why",
			events: `{"ImportPath":"m/p [m/p.test]","Action":"build-output","Output":"p.go:1: undefined: x\n"}
{"ImportPath":"m/p [m/p.test]","Action":"build-fail"}
{"Action":"pass","Package":"check","Test":"vet"}
{"Action":"fail","Package":"m/p","FailedBuild":"m/p [m/p.test]"}
`,
			failed: true,
			want:   []string{"      p.go:1: undefined: x", "1 passed, 1 failed, 0 skipped"},
		},
		{
			name: "a run that fails with nothing to show for it counts as one",
			events: `{"Action":"suite-start","Package":"tests"}
go: no such tool
{"Action":"pass","Package":"m/p","Test":"TestA"}
{"Action":"suite-exit","Package":"tests","Status":2}
`,
			failed: true,
			want:   []string{"go: no such tool", "tests: the run ended with status 2", "1 passed, 1 failed, 0 skipped"},
		},
		{
			name:   "a run that never ends counts as one",
			events: `{"Action":"suite-start","Package":"tests"}` + "\n" + `{"Action":"pass","Package":"m/p","Test":"TestA"}`,
			failed: true,
			want:   []string{"1 passed, 1 failed, 0 skipped"},
		},
		{
			name:   "nothing at all is a failure",
			failed: true,
			want:   []string{"0 passed, 0 failed, 0 skipped"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			failed, err := count(strings.NewReader(tt.events), &out)
			if err != nil {
				t.Fatal(err)
			}
			if failed != tt.failed {
				t.Errorf("failed = %v, want %v", failed, tt.failed)
			}
			rest := out.String()
			for _, want := range tt.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("report lacks %q in its place:\n%s", want, out.String())
				}
				rest = after
			}
			if strings.TrimSpace(rest) != "" {
				t.Errorf("report goes on after the count: %q", rest)
			}
		})
	}
}

func TestWrittenEventsAreCounted(t *testing.T) {
	var events, report bytes.Buffer
	for _, e := range []struct{ kind, name string }{{"pass", "vet"}, {"fail", "format"}, {"start", "tests"}, {"exit", "tests"}} {
		if err := writeEvents(&events, strings.NewReader("the output\n"), e.kind, e.name, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeEvents(&events, strings.NewReader(""), "explode", "x", 0); err == nil {
		t.Error("an unknown kind of event was accepted")
	}
	failed, err := count(&events, &report)
	if err != nil || !failed {
		t.Errorf("count = %v, %v; want failed", failed, err)
	}
	for _, want := range []string{"ok    vet\n", "FAIL  check format\n      the output\n", "1 passed, 1 failed, 0 skipped\n"} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("report lacks %q:\n%s", want, report.String())
		}
	}
}
