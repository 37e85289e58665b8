//go:build linux

package harness

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// transmission is a transmission-daemon with one torrent.
type transmission struct {
	*Process
	port int
	rpc  string // URL
	key  string // its protection against foreign web pages
}

// StartTransmission starts a daemon that downloads to data and seeds what it
// finds there. Peers come from the tracker, or connect to it.
func StartTransmission(t testing.TB, torrent, data string) *transmission {
	t.Helper()
	Need(t, "transmission-daemon")
	home := Scratch(t)
	port, rpc := FreePort(t), FreePort(t)
	settings, err := json.Marshal(map[string]any{
		"bind-address-ipv4": Env.Addr, "peer-port": port, "peer-port-random-on-start": false,
		"rpc-port": rpc, "rpc-bind-address": "127.0.0.1", "rpc-authentication-required": false,
		"dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
		"port-forwarding-enabled": false, "rename-partial-files": false, "download-dir": data,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "settings.json"), settings, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Command{Name: "transmission-daemon", Args: []string{"--foreground", "--config-dir", home, "--log-info"}, Env: HomeIn(home)}
	d := &transmission{Process: c.Start(t), port: port, rpc: fmt.Sprintf("http://127.0.0.1:%d/transmission/rpc", rpc)}
	Eventually(t, "transmission-daemon answers", func() bool {
		if !d.Running() {
			t.Fatalf("transmission-daemon ended: %v", d.Err)
		}
		_, err := d.call("session-get", nil)
		return err == nil
	})
	Listens(t, port)
	d.add(torrent, data)
	return d
}

func (d *transmission) Peer() string { return HostPort(d.port) }

// add adds the torrent; data that is there already is checked first.
func (d *transmission) add(torrent, data string) {
	d.T.Helper()
	raw, err := os.ReadFile(torrent)
	if err != nil {
		d.T.Fatal(err)
	}
	_, err = d.call("torrent-add", map[string]any{"metainfo": base64.StdEncoding.EncodeToString(raw), "download-dir": data})
	if err != nil {
		d.T.Fatal(err)
	}
}

// transmissionStatus is one torrent's answer of torrent-get.
type transmissionStatus struct {
	LeftUntilDone  int64  `json:"leftUntilDone"`
	Status         int    `json:"status"`
	ErrorString    string `json:"errorString"`
	UploadedEver   int64  `json:"uploadedEver"`
	DownloadedEver int64  `json:"downloadedEver"`
	HaveValid      int64  `json:"haveValid"`
}

// transmissionSeeding is the status of a torrent that is complete and started.
const transmissionSeeding = 6

// Complete waits until the daemon has, and has checked, everything.
func (d *transmission) Complete() {
	d.T.Helper()
	Eventually(d.T, "transmission is complete", func() bool { return d.status().Status == transmissionSeeding })
}

func (d *transmission) status() (s transmissionStatus) {
	d.T.Helper()
	answer, err := d.call("torrent-get", map[string]any{"fields": []string{
		"leftUntilDone", "status", "errorString", "uploadedEver", "downloadedEver", "haveValid",
	}})
	if err != nil {
		d.T.Fatal(err)
	}
	var list struct{ Torrents []transmissionStatus }
	if err := json.Unmarshal(answer, &list); err != nil || len(list.Torrents) != 1 {
		d.T.Fatalf("transmission: torrent-get: %v: %s", err, answer)
	}
	return list.Torrents[0]
}

// call makes one call of transmission's RPC. The first one is answered by the
// key that all others must show.
func (d *transmission) call(method string, arguments any) (json.RawMessage, error) {
	body, err := json.Marshal(map[string]any{"method": method, "arguments": arguments})
	if err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 10 * time.Second}
	for range 2 {
		req, err := http.NewRequestWithContext(d.T.Context(), http.MethodPost, d.rpc, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("X-Transmission-Session-Id", d.key)
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		var answer struct {
			Result    string
			Arguments json.RawMessage
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusConflict {
			d.key = resp.Header.Get("X-Transmission-Session-Id")
			continue
		}
		if err != nil || answer.Result != "success" {
			return nil, fmt.Errorf("transmission: %s: %s: %q, %w", method, resp.Status, answer.Result, err)
		}
		return answer.Arguments, nil
	}
	return nil, fmt.Errorf("transmission: %s: no session id is good enough", method)
}
