package wire

// VectoredReader is a connection that can fill several buffers with one call,
// in order, as readv(2) does. Like [io.Reader] it blocks until it has at least
// one byte, and returns the number of bytes and an error. It keeps no reference
// to bufs or the slices within.
type VectoredReader interface {
	ReadVectored(bufs [][]byte) (int, error)
}
