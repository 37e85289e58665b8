package picker

// Flags of a request.
const (
	flagUrgent    = 1 << iota // a blocked read waits for it
	flagReadAhead             // it was issued for a reader's window
	flagHedge                 // it has a copy, or is one
	flagCancelled             // CANCEL was sent: fills the pipe until it is answered or times out
	flagEmpty                 // it was sent into an empty pipe: its latency is a sample of the round trip
)

// request is one REQUEST that a peer has not answered. Times are seconds of the picker's clock.
type request struct {
	sent  float64
	pred  float64 // when the block was expected, at the time of sending
	lead  float32 // cancelled: the wait that was predicted when CANCEL was sent, seconds
	block blockID
	seq   uint32 // of the peer's requests; cancelled: how many the peer was sent before the CANCEL
	flags uint8
}

func (r *request) live() bool { return r.flags&flagCancelled == 0 }

// ring is a peer's requests in the order in which they were sent, which is the order in which most peers answer.
type ring struct {
	buf  []request // length is a power of two
	head int
	n    int
}

func (r *ring) at(i int) *request { return &r.buf[(r.head+i)&(len(r.buf)-1)] }

func (r *ring) push(x request) *request {
	if r.n == len(r.buf) {
		buf := make([]request, max(8, 2*len(r.buf)))
		for i := range r.n {
			buf[i] = *r.at(i)
		}
		r.buf, r.head = buf, 0
	}
	r.n++
	p := r.at(r.n - 1)
	*p = x
	return p
}

// remove takes out request i and moves those before it: nothing where answers come in order.
func (r *ring) remove(i int) request {
	x := *r.at(i)
	for ; i > 0; i-- {
		*r.at(i) = *r.at(i - 1)
	}
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	return x
}

// find returns the index of the request of a block, or -1.
func (r *ring) find(b blockID) int {
	for i := range r.n {
		if r.at(i).block == b {
			return i
		}
	}
	return -1
}
