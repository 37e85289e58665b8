package utp

import (
	"bytes"
	"testing"
	"time"
)

// sampleCore is the receiver that the samples were made for: it receives on id
// 2, sends on 1, and expects packet 2.
func sampleCore() *core {
	now := time.Hour
	c := newAcceptor(now, &packet{kind: typeSyn, id: 1, seq: 1, window: 1 << 20}, 2)
	drain(nil, c, now)
	return c
}

// drain takes all packets that a core has to send, and returns the last.
func drain(tb testing.TB, c *core, now time.Duration) (last packet) {
	var buf [maxDatagram]byte
	for i := 0; ; i++ {
		b, ok := c.next(now, buf[:0])
		if !ok {
			return last
		}
		p, err := parsePacket(b)
		if err != nil || i > 2*maxReorder {
			tb.Fatalf("packet %d: %v", i, err)
		}
		last = p
	}
}

// play feeds a sample to a core, byte for byte as it says, and returns what the
// application would have read.
func play(tb testing.TB, c *core, data []byte) (read []byte) {
	s := &sim{t: tb}
	now := time.Hour
	for len(data) > 0 {
		n := min(int(data[0]), len(data)-1)
		b := data[1 : 1+n]
		data = data[1+n:]
		if n == 0 {
			now += time.Millisecond
			if d := c.deadline(); d > 0 && d <= now {
				c.tick(now)
			}
		} else if p, err := parsePacket(b); err == nil && p.kind != typeSyn && (p.id == c.recvID || p.kind == typeReset) {
			c.receive(now, &p)
		}
		s.check(c)
		drain(tb, c, now)
		var buf [1000]byte
		k, _ := c.read(buf[:])
		read = append(read, buf[:k]...)
	}
	return read
}

func TestSamples(t *testing.T) {
	eight := []byte{0, 1, 2, 3, 4, 5, 6, 7}
	want := map[string]struct {
		read  []byte
		eof   bool
		reset bool
	}{
		"data_small":                {read: eight},
		"data_ooo_seq3":             {},
		"data_seq_0":                {},
		"data_ack_max":              {},
		"fin_bare":                  {eof: true},
		"reset_bare":                {reset: true},
		"seq_data_3_inorder":        {read: bytes.Repeat(eight, 3)},
		"seq_data_ooo_reorder":      {read: bytes.Repeat(eight, 3)},
		"seq_data_interleaved":      {read: bytes.Repeat(eight, 3)},
		"seq_data_then_fin":         {read: eight, eof: true},
		"seq_data_then_reset":       {read: eight, reset: true},
		"seq_zero_window_then_open": {},
		"wrong_conn_id_1":           {},
		"wrong_conn_id_99":          {},
		"truncated_1":               {},
	}
	for name, data := range samples(t) {
		c := sampleCore()
		read := play(t, c, data)
		w, ok := want[name]
		if !ok {
			continue // that it does not break anything is all that can be said
		}
		if !bytes.Equal(read, w.read) || c.eof != w.eof || (c.err == errReset) != w.reset {
			t.Errorf("%s: read %x, end %v, error %v", name, read, c.eof, c.err)
		}
	}
}

func FuzzCore(f *testing.F) {
	for _, data := range samples(f) {
		f.Add(data, uint16(0))
		f.Add(data, uint16(5000))
	}
	f.Fuzz(func(t *testing.T, data []byte, write uint16) {
		c := sampleCore()
		if write > 0 {
			c.state = stateConnected
			if _, err := c.write(make([]byte, write)); err != nil {
				t.Fatal(err)
			}
		}
		play(t, c, data)
		// After any packets, it comes to its end.
		now := time.Hour + time.Duration(len(data))*time.Millisecond
		c.close(now)
		for i := 0; c.state != stateClosed; i++ {
			d := c.deadline()
			if d == 0 || i > 10_000 {
				t.Fatalf("state %d after close, deadline %v", c.state, d)
			}
			now = max(now, d)
			c.tick(now)
			drain(t, c, now)
		}
	})
}
