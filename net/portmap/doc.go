// Package portmap asks the router to let peers in: it maps a port of the
// router to ours by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP IGD, renews the
// mapping, follows the computer into other networks, and removes it at the end.
//
// A router that does none of this is the usual case and no failure: nothing here is worth more than
// a debug line, no caller waits for it, and every exchange has an end. The goroutine in
// [Mapper.Run] owns all state but the snapshot that [Mapper.Status] returns.
//
// It never contacts a host outside of the local network, never believes a
// description that is not on the host that offered it, and never removes a
// mapping that it did not make. The router's word on the external address is
// one vote among others.
package portmap
