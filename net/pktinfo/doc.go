// Package pktinfo reports to which of this machine's addresses a datagram came, and has the answer
// leave from there (IP_PKTINFO, IPV6_RECVPKTINFO): a socket that is bound to none in particular
// would send from the address of the route, and a host that asked another address accepts no answer
// from it.
//
// It reads and writes the control messages of a datagram, by hand, because every
// packet of uTP has some: golang.org/x/net's allocate. It works on Linux, and does
// nothing elsewhere. It keeps no state, sends nothing, and opens no socket.
package pktinfo
