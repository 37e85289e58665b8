package wire

// VectoredReader is a connection that can fill several buffers with one call,
// in order, as readv(2) does. Like [io.Reader] it blocks until it has at least
// one byte, and returns the number of bytes and an error. bufs have room for a
// byte at least; no reference to them or the slices within is kept.
type VectoredReader interface {
	ReadVectored(bufs [][]byte) (int, error)
}
