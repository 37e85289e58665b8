package conn

import (
	"time"

	"torrentfs/swarm/wire"
)

// Times of a connection's writer.
const (
	keepAliveInterval = 110 * time.Second // peers give up after two minutes of silence (BEP 3)
	writeTimeout      = 60 * time.Second
)

// write sends what the outbox holds until it is closed, the connection fails, or it is to be
// parked.
func (c *Conn) write() error {
	w := blockWriter{c: c}
	idle := time.NewTimer(keepAliveInterval)
	defer idle.Stop()
	var buf []byte
	for {
		if c.parked.Load() {
			return errParked
		}
		msgs, blocks, closed := c.out.take(buf, w.blocks[:0], w.runLength())
		if closed {
			return ErrClosed
		}
		buf = msgs
		if len(msgs) == 0 && len(blocks) == 0 {
			select {
			case <-c.out.wake:
			case <-idle.C:
				c.out.add(wire.AppendKeepAlive)
			}
			continue
		}
		idle.Reset(keepAliveInterval)
		c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
		if c.parked.Load() { // if it is from now on, the deadline is moved
			c.out.putBack(msgs, blocks)
			return errParked
		}
		if len(msgs) > 0 {
			if _, err := c.nc.Write(msgs); err != nil {
				return err
			}
		}
		if len(blocks) > 0 {
			if err := w.sendRun(blocks); err != nil {
				return err
			}
		}
	}
}
