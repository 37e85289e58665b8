package utp

// ring is a queue of bytes in one buffer, which grows by doubling. Its limit is
// for its user to keep.
type ring struct {
	buf  []byte // of a power of two
	head int    // index of the first byte
	size int
}

const minRing = 4 << 10

// grow makes room for n bytes in all.
func (r *ring) grow(n int) {
	if n <= len(r.buf) {
		return
	}
	c := max(len(r.buf), minRing)
	for c < n {
		c *= 2
	}
	buf := make([]byte, c)
	r.peek(buf[:r.size], 0)
	r.buf, r.head = buf, 0
}

// write appends p.
func (r *ring) write(p []byte) {
	if len(p) == 0 {
		return
	}
	r.grow(r.size + len(p))
	at := (r.head + r.size) & (len(r.buf) - 1)
	n := copy(r.buf[at:], p)
	copy(r.buf, p[n:])
	r.size += len(p)
}

// peek copies to p the bytes from off behind the head on, as many as there are.
func (r *ring) peek(p []byte, off int) int {
	n := min(len(p), r.size-off)
	if n <= 0 {
		return 0
	}
	at := (r.head + off) & (len(r.buf) - 1)
	k := copy(p[:n], r.buf[at:])
	copy(p[k:n], r.buf)
	return n
}

// skip drops the first n bytes.
func (r *ring) skip(n int) {
	r.size -= n
	if r.size > 0 {
		r.head = (r.head + n) & (len(r.buf) - 1)
		return
	}
	r.head = 0
}

// release gives the buffer back if nothing is in it.
func (r *ring) release() {
	if r.size == 0 {
		r.buf, r.head = nil, 0
	}
}

// read moves up to len(p) bytes to p.
func (r *ring) read(p []byte) int {
	n := r.peek(p, 0)
	r.skip(n)
	return n
}
