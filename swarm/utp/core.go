package utp

import (
	"errors"
	"io"
	"time"
)

// Timers and limits of a connection.
const (
	initialRTO    = time.Second
	minRTO        = 500 * time.Millisecond // BEP 29
	maxRTO        = 30 * time.Second
	maxRetries    = 7 // time-outs in a row without an answer: about a minute
	maxSynRetries = 4

	ackDelay     = 20 * time.Millisecond
	peerAckDelay = 100 * time.Millisecond // libutp's: how long a peer may keep an ack back
	ackEvery     = 2                      // packets
	keepAlive    = 29 * time.Second       // most routers forget a UDP mapping after 30 s
	lingerFor    = 10 * time.Second       // after Close, for what was written to arrive
	timeWait     = 3 * time.Second        // after both FINs, to confirm the peer's once more

	maxReorder   = 1024 // packets ahead of the next one that are kept
	dupThreshold = 3    // packets that must overtake one before it counts as lost

	minRecvLimit = 256 << 10 // receive window of a new connection
	minSendLimit = 64 << 10
	maxLimit     = 1 << 20 // of either buffer
)

// Payload of a full packet. IPv6 promises 1280 bytes on every path, of which
// 48 are headers below ours; anything more is tried out.
const (
	maxDatagram   = 1472
	baseDatagram  = 1232
	basePayload   = baseDatagram - headerLen
	probeInterval = time.Minute // after a size did not get through
)

// probeSizes are the datagrams that are tried: Ethernet under IPv6, PPPoE and
// the usual tunnels.
var probeSizes = [...]int{1452, 1372}

var (
	errReset   = errors.New("connection reset by peer")
	errRefused = errors.New("connection refused")
	errTimeout = errors.New("peer does not answer")
	errClosed  = errors.New("connection is closed")
)

type state uint8

const (
	stateSynSent state = iota
	stateSynReceived
	stateConnected
	stateClosed // see core.err
)

// segment is a packet with data, or the FIN, that is not yet cumulatively
// acknowledged.
type segment struct {
	at     uint64 // offset of its payload in the stream
	order  uint64 // of its last transmission among all of the connection; 0: never sent
	sentAt time.Duration
	size   int32
	times  uint8 // it was sent
	fin    bool
	sacked bool
	lost   bool // to be sent again
	probe  bool // was padded, to try a size
}

// core is one end of a connection (BEP 29) as a pure state machine: packets,
// the application's bytes and the time come in by method calls, and next gives
// out one packet at a time. It has no goroutine, no lock and no clock, so that
// tests run it in virtual time. Times are since an arbitrary instant.
//
// After any call, next is to be called until it has nothing, and tick at the
// time of deadline.
type core struct {
	state          state
	err            error // of a closed connection; nil: an orderly end
	recvID, sendID uint16

	// Sending. The bytes of sendBuf begin at stream offset base; what is before
	// cut lies in segments, those with sequence numbers from una to seq - 1.
	sendBuf    ring
	base, cut  uint64
	segs       []segment // by sequence number modulo its length, a power of two
	una, seq   uint16
	flight     int // payload bytes sent, and neither acknowledged nor lost
	lostCount  int
	peerWindow int
	closing    bool // Close was called: a FIN follows the data
	finSent    bool
	lingerEnd  time.Duration

	cc          ledbat
	overhead    int    // by how much datagrams are to be smaller than the path's
	order       uint64 // of the latest transmission
	newestAcked uint64 // order of the latest transmission that arrived
	recovery    uint64 // losses of what was sent up to this order are one event
	dupAcks     int
	rtt         roundTrips
	rtoAt       time.Duration // 0: not running
	tail        tailProbe
	retries     int
	sizes       sizeProbes

	// Receiving.
	recvBuf    ring
	ackNr      uint16 // latest packet that came in order
	early      earlyPackets
	dialed     bool
	heard      bool // a packet with data came
	fin        peerFIN
	eof        bool // everything up to the FIN has come
	discard    bool // the application does not read any more
	delivered  int64
	recvLimit  int
	lastWindow int // that the peer was told
	unacked    int // packets since the last ack
	ackNow     bool
	ackAt      time.Duration // 0: not running
	replyDelay uint32

	lastSent time.Duration
	resetOut bool // of a closed connection: the peer is to be told
}

// roundTrips is the estimate of the round trip and of when a packet counts as lost (RFC 6298).
type roundTrips struct {
	smoothed time.Duration // 0: no sample yet
	variance time.Duration
	least    time.Duration
	timeout  time.Duration // RTO
}

// tailProbe is the packet that finds out whether the last ones of a flight were lost.
type tailProbe struct {
	at    time.Duration // 0: not running
	probe bool          // to be sent now
}

// sizeProbes is the search for the largest packet that the path takes.
type sizeProbes struct {
	next int           // index of the size to try, len(probeSizes): none left
	out  bool          // one is under way
	at   time.Duration // not before
}

// earlyPackets are packets received ahead of the next one in order.
type earlyPackets struct {
	packets [][]byte // payload, by sequence number; nil before any came; an empty one is not nil
	count   int
	bytes   int
}

// peerFIN is where the peer's stream ends.
type peerFIN struct {
	seq   uint16
	known bool
}

// newDialer begins a connection to a peer.
func newDialer(now time.Duration, id uint16) *core {
	c := newCore(now)
	c.state, c.recvID, c.sendID, c.dialed = stateSynSent, id, id+1, true
	c.una, c.seq = 1, 1
	c.push(segment{}) // the SYN takes a number
	return c
}

// newAcceptor answers a SYN; seq is our first sequence number, and random.
func newAcceptor(now time.Duration, syn *packet, seq uint16) *core {
	c := newCore(now)
	c.state, c.recvID, c.sendID = stateSynReceived, syn.id+1, syn.id
	c.una, c.seq, c.ackNr = seq, seq, syn.seq
	c.peerWindow = int(min(syn.window, 1<<30))
	c.replyDelay = micros(now) - syn.timestamp
	c.ackNow = true
	c.lingerEnd = now + lingerFor // by then the dialer must have said something
	c.rtoAt = now + c.rtt.timeout
	return c
}

func newCore(now time.Duration) *core {
	return &core{
		cc: newLedbat(basePayload), rtt: roundTrips{timeout: initialRTO}, recvLimit: minRecvLimit, lastWindow: minRecvLimit,
		peerWindow: basePayload, lastSent: now,
	}
}

// narrow leaves room in each datagram for a header that is added on its way, such as a proxy's. It
// is for a connection that has not begun.
func (c *core) narrow(overhead int) {
	c.overhead = overhead
	c.cc = newLedbat(basePayload - overhead)
}

func micros(t time.Duration) uint32 { return uint32(t / time.Microsecond) }

// push adds a segment at the end.
func (c *core) push(s segment) {
	n := int(c.seq - c.una)
	if n == len(c.segs) {
		segs := make([]segment, max(16, 2*n))
		for q := c.una; q != c.seq; q++ {
			segs[int(q)&(len(segs)-1)] = *c.segment(q)
		}
		c.segs = segs
	}
	c.seq++
	*c.segment(c.seq - 1) = s
}

func (c *core) segment(seq uint16) *segment { return &c.segs[int(seq)&(len(c.segs)-1)] }

// outstanding is the number of segments that are not yet acknowledged.
func (c *core) outstanding() int { return int(c.seq - c.una) }

// sendLimit is how much of the application's data is kept: twice the window, so that sending never
// waits for the application, and its data does not wait long before it leaves.
func (c *core) sendLimit() int { return min(max(minSendLimit, 2*c.cc.window()), maxLimit) }

// write takes as much of p as there is room for.
func (c *core) write(p []byte) (int, error) {
	switch {
	case c.state == stateClosed:
		return 0, c.failure(errClosed)
	case c.closing:
		return 0, errClosed
	}
	n := min(len(p), max(0, c.sendLimit()-c.sendBuf.size))
	c.sendBuf.write(p[:n])
	return n, nil
}

// read takes bytes that came in order; n = 0 without an error means none yet.
func (c *core) read(p []byte) (int, error) {
	n := c.recvBuf.read(p)
	if n > 0 {
		c.consumed(n)
		return n, nil
	}
	switch {
	case c.discard:
		return 0, errClosed
	case c.eof:
		return 0, io.EOF
	case c.state == stateClosed:
		return 0, c.failure(io.EOF)
	}
	return 0, nil
}

// readable reports whether read has a result.
func (c *core) readable() bool {
	return c.recvBuf.size > 0 || c.eof || c.discard || c.state == stateClosed
}

// writable reports whether write has a result: room for one block at least.
func (c *core) writable() bool {
	return c.state == stateClosed || c.closing || c.sendBuf.size <= c.sendLimit()-minSendLimit/4
}

func (c *core) failure(orderly error) error {
	if c.err != nil {
		return c.err
	}
	return orderly
}

// consumed grows the window with the traffic that the application takes, and
// tells the peer when a window that was small has opened.
func (c *core) consumed(n int) {
	c.delivered += int64(n)
	c.recvLimit = int(min(max(c.delivered/2, minRecvLimit), maxLimit))
	if c.lastWindow < c.recvLimit/4 && c.recvWindow() >= c.recvLimit/2 {
		c.ackNow = true
	}
}

// recvWindow is how many bytes we can take.
func (c *core) recvWindow() int {
	return max(0, c.recvLimit-c.recvBuf.size-c.early.bytes)
}

// close ends the stream after the written data. Data received from now on is discarded.
func (c *core) close(now time.Duration) {
	if c.closing || c.state == stateClosed {
		return
	}
	c.closing, c.discard = true, true
	c.recvBuf = ring{}
	c.lingerEnd = now + lingerFor
	if c.eof && c.outstanding() == 0 && c.sendBuf.size == 0 {
		c.lingerEnd = now + timeWait // the peer went first, and may be gone
	}
	if c.state == stateSynSent {
		c.fail(nil)
	}
}

// abort ends the connection at once and tells the peer.
func (c *core) abort() {
	c.resetOut = c.state == stateConnected || c.state == stateSynReceived
	c.fail(errClosed)
}

// fail ends the connection at once.
func (c *core) fail(err error) {
	if c.state == stateClosed {
		return
	}
	c.state, c.err = stateClosed, err
	c.sendBuf, c.segs, c.early.packets = ring{}, nil, nil
	c.una = c.seq
	c.flight, c.lostCount, c.early.count, c.early.bytes = 0, 0, 0, 0
	c.rtoAt, c.tail.at, c.ackAt, c.ackNow = 0, 0, 0, false
}

// deadline is when tick is to be called, 0 for never.
func (c *core) deadline() time.Duration {
	if c.state == stateClosed {
		return 0
	}
	d := c.lastSent + keepAlive
	for _, t := range [...]time.Duration{c.rtoAt, c.tail.at, c.ackAt, c.lingerEnd} {
		if t > 0 {
			d = min(d, t)
		}
	}
	return d
}

// tick runs the timers that are due.
func (c *core) tick(now time.Duration) {
	if c.state == stateClosed {
		return
	}
	if c.lingerEnd > 0 && now >= c.lingerEnd {
		c.fail(c.lingerError())
		return
	}
	if c.ackAt > 0 && now >= c.ackAt {
		c.ackAt, c.ackNow = 0, true
	}
	if c.tail.at > 0 && now >= c.tail.at {
		c.tail.at, c.tail.probe = 0, true
	}
	if c.rtoAt > 0 && now >= c.rtoAt {
		if c.state == stateSynReceived {
			c.answerAgain(now)
		} else {
			c.timeout(now)
		}
	}
	if now >= c.lastSent+keepAlive && c.state == stateConnected {
		c.ackNow = true
		c.sendBuf.release() // an idle connection holds little
		c.recvBuf.release()
	}
}

// answerAgain repeats the answer to a SYN. The dialling end has most often sent something by now;
// if not, its confirmation was lost. Two times is enough: the SYN may have come under a false
// address, whose owner is not to be flooded.
func (c *core) answerAgain(now time.Duration) {
	c.ackNow = true
	c.rtt.timeout *= 2
	if c.rtoAt = now + c.rtt.timeout; c.rtt.timeout > 4*initialRTO {
		c.rtoAt = 0
	}
}

// lingerError is the result of a connection at lingerEnd.
func (c *core) lingerError() error {
	if c.state == stateConnected && c.sendBuf.size == 0 && (c.outstanding() == 0 || c.eof) {
		return nil
	}
	return errTimeout
}
