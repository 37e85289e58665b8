package main

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"torrentfs/cmd/torrentfs/internal/ui"
	"torrentfs/library"
)

// notifyEvery is how often the service manager gets a new status line.
const notifyEvery = 5 * time.Second

// notify tells the service manager how we are doing (sd_notify(3)). Without one it does nothing.
func (a *app) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Debug("telling the service manager failed", "state", state, "err", err)
	}
}

// notifyStatus keeps the line that systemctl status shows up to date, until ctx ends.
func (a *app) notifyStatus(ctx context.Context, stats func() library.Stats) {
	if sent, err := daemon.SdNotify(false, daemon.SdNotifyReady); !sent || err != nil {
		return // nobody listens
	}
	ticker := time.NewTicker(notifyEvery)
	defer ticker.Stop()
	var h ui.Hashing
	for {
		a.notify("STATUS=" + statusLine(stats(), &h, time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
