package announce

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What a tracker refuses or warns of, and that none answers, is a warning of the log:
// once for each text.
func TestTroubleIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		began := time.Now()
		tr := newFake()
		tr.trackers["dead"] = func(Request) (Response, error) {
			return Response{}, errors.New("announce to http://dead: connection refused")
		}
		tr.trackers["live"] = func(Request) (Response, error) {
			switch now := time.Since(began); {
			case now < time.Hour:
				return Response{}, &FailureError{Reason: "unregistered"}
			case now < 3*time.Hour:
				return Response{}, &FailureError{Reason: "banned"}
			case now < 5*time.Hour:
				return Response{Interval: time.Minute, Warning: "old client"}, nil
			}
			return Response{Interval: time.Minute}, nil
		}
		a := New(Config{
			Trackers: [][]string{{"udp://live:80"}, {"udp://dead:80"}}, Transport: tr,
			Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		time.Sleep(10 * time.Hour)
		cancel()
		<-done
		for text, want := range map[string]int{
			"level=WARN": 4, "unregistered": 1, "banned": 1, `msg="no tracker answers"`: 1, "connection refused": 1,
			`msg="tracker warns" tracker=udp://live:80 warning="old client"`: 1, `msg="a tracker answers"`: 1,
		} {
			if got := strings.Count(log.String(), text); got != want {
				t.Errorf("%q is said %d times, not %d:\n%s", text, got, want, log.String())
			}
		}
	})
}

// A tracker that quotes the passkey does not bring it into the log.
func TestTrackerQuotesThePasskey(t *testing.T) {
	refuses := true
	c, _ := httpTracker(t, func(w http.ResponseWriter, _ *http.Request) {
		if refuses {
			io.WriteString(w, "d14:failure reason28:SECRETKEY or hush is unknowne")
			return
		}
		io.WriteString(w, "d8:intervali900e5:peers0:15:warning message17:SECRETKEY is hushe")
	}, public)
	const tracker = "http://tracker.example/SECRETKEY/announce?auth=hush"
	_, err := c.Announce(t.Context(), tracker, Request{}, nil)
	var refusal *FailureError
	if !errors.As(err, &refusal) || strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "*** or *** is unknown") {
		t.Errorf("refusal: %v", err)
	}
	refuses = false
	resp, err := c.Announce(t.Context(), tracker, Request{}, nil)
	if err != nil || resp.Warning != "*** is ***" {
		t.Errorf("warning %q, %v", resp.Warning, err)
	}
}
