package main

import (
	"os"
	"os/user"
	"testing"
)

// Without HOME, as systemd runs mount helpers, it is what the system says; one that
// is set stays.
func TestFindHome(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	want := me.HomeDir
	if st, err := os.Stat(want); err != nil || !st.IsDir() {
		want = ""
	}
	for _, tt := range []struct{ set, want string }{{"", want}, {"/elsewhere", "/elsewhere"}} {
		t.Setenv("HOME", tt.set)
		if err := findHome(); err != nil {
			t.Fatal(err)
		}
		if got := os.Getenv("HOME"); got != tt.want {
			t.Errorf("HOME=%q became %q, want %q", tt.set, got, tt.want)
		}
	}
}
