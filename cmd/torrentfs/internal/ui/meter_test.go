package ui

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What was done before the first look does not count as speed, and something
// that begins anew is measured anew.
func TestMeter(t *testing.T) {
	now := time.Now()
	type look struct {
		at   time.Duration
		done int64
	}
	tests := []struct {
		name  string
		looks []look
		rate  float64
		left  time.Duration // for 1,000 bytes
	}{
		{"nothing seen", nil, 0, 0},
		{"one look tells nothing", []look{{0, 1 << 40}}, 0, 0},
		{"what an earlier start left is not counted", []look{{0, 1 << 40}, {time.Second, 1<<40 + 100}}, 100, 10 * time.Second},
		{"it stands", []look{{0, 5}, {time.Second, 5}}, 0, 0},
		{"the last seconds count", []look{{0, 0}, {time.Second, 1e9}, {2 * time.Second, 1e9}, {21 * time.Second, 1e9 + 190}}, 10, 100 * time.Second},
		{"looks far apart", []look{{0, 0}, {30 * time.Second, 300}, {60 * time.Second, 900}}, 20, 50 * time.Second},
		{"begun anew", []look{{0, 500}, {time.Second, 900}, {2 * time.Second, 0}, {3 * time.Second, 50}}, 50, 20 * time.Second},
		{"two at one time", []look{{0, 0}, {0, 7}}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Meter
			for _, l := range tt.looks {
				m.Observe(now.Add(l.at), l.done)
			}
			if rate, left := m.Rate(), m.Left(1000); rate != tt.rate || left != tt.left {
				t.Errorf("%g bytes a second, %s left, want %g and %s", rate, left, tt.rate, tt.left)
			}
		})
	}
}

// However often it looks, a meter keeps few marks and finds a steady rate.
func TestMeterIsSmallAndRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Meter
		at, began := time.Unix(0, 0), time.Unix(0, 0)
		for range rapid.IntRange(2, 500).Draw(t, "looks") {
			m.Observe(at, 1000+at.Sub(began).Milliseconds())
			at = at.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "ms")) * time.Millisecond)
		}
		if rate := m.Rate(); rate < 999.9 || rate > 1000.1 {
			t.Fatalf("%g bytes a second, want 1000", rate)
		}
		if most := int(meterSpan/RefreshEvery)*2 + 4; len(m.marks) > most {
			t.Fatalf("%d marks", len(m.marks))
		}
	})
}

func TestFormatLeft(t *testing.T) {
	tests := map[time.Duration]string{
		-time.Second: "", 0: "", time.Millisecond: "1s left", 59 * time.Second: "60s left",
		61 * time.Second: "1m01s left", 90 * time.Minute: "1h30m left", 50 * time.Hour: "50h00m left",
	}
	for in, want := range tests {
		if got := formatLeft(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestHashingText(t *testing.T) {
	now := time.Now()
	var h Hashing
	for i, step := range []struct {
		waiting int64
		want    string
	}{
		{0, ""},
		{4 << 20, "checking what is on disk: 0.0% of 4.0 MiB at 0 B/s"},
		{3 << 20, "checking what is on disk: 25.0% of 4.0 MiB at 1.0 MiB/s, 4s left"},
		{7 << 20, "checking what is on disk: 12.5% of 8.0 MiB at 512 KiB/s, 15s left"}, // another program changed a file
		{0, ""},
		{1 << 20, "checking what is on disk: 0.0% of 1.0 MiB at 0 B/s"},
	} {
		h.See(now.Add(time.Duration(i)*time.Second), step.waiting)
		if got := h.Text(); got != step.want {
			t.Errorf("%d: %q, want %q", i, got, step.want)
		}
		if n := len(h.Attrs()); (n > 0) != (step.want != "") {
			t.Errorf("%d: %v", i, h.Attrs())
		}
	}
}
