package dht

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"torrentfs/metainfo/bencode"
)

// errMessage is wrapped by every reason for dropping a datagram.
var errMessage = errors.New("not a DHT message")

// Bounds of what is taken from a message. BEP 5 names few of them; these are
// beyond what clients send.
const (
	maxPacket      = 4 << 10 // bytes of a datagram
	maxTransaction = 32      // bytes of a query's transaction id, which an answer repeats
	maxToken       = 128     // bytes
	maxNodes       = 32      // in one list of one reply
	maxValues      = 200     // peers in one reply
	maxErrorText   = 200     // bytes
)

var messageLimits = bencode.Limits{Depth: 6, Items: 1000}

type nodeID = [20]byte

// nodeInfo is a node as others name it.
type nodeInfo struct {
	id   nodeID
	addr netip.AddrPort
}

// message is a datagram whose fields were all checked.
type message struct {
	kind byte   // 'q', 'r' or 'e', as the key "y" has it
	tid  string // as the sender chose or repeats it
	self netip.AddrPort
	id   nodeID // of the sender; not in errors

	// queries
	readOnly bool // BEP 43
	method   string
	target   nodeID // target or info_hash
	targeted bool   // that there is one
	port     uint16 // 0 if there is none
	implied  bool   // the port is that of the datagram
	want4    bool   // BEP 32; both false: the sender's own family
	want6    bool

	token string // of queries and replies

	// replies
	nodes  []nodeInfo // IPv4
	nodes6 []nodeInfo
	values []netip.AddrPort

	// errors
	code int64
	text string
}

// parseMessage reads a datagram. What it returns refers to nothing of b.
func parseMessage(b []byte) (message, error) {
	if len(b) > maxPacket {
		return message{}, fmt.Errorf("%w: %d bytes", errMessage, len(b))
	}
	d, n, err := bencode.DecodeDict(b, messageLimits)
	if err != nil {
		return message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	if n != len(b) {
		return message{}, fmt.Errorf("%w: %w", errMessage, bencode.ErrTrailing)
	}
	var m message
	if m.tid, err = d.String("t"); err != nil {
		return message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	if len(m.tid) == 0 || len(m.tid) > maxTransaction {
		return message{}, fmt.Errorf("%w: transaction id of %d bytes", errMessage, len(m.tid))
	}
	if s, ok := bencode.Get[string](d, "ip"); ok {
		m.self, _ = parseCompact(s)
	}
	kind, _ := bencode.Get[string](d, "y")
	switch kind {
	case "q":
		err = m.parseQuery(d)
	case "r":
		err = m.parseReply(d)
	case "e":
		m.kind = 'e'
		m.parseError(d)
	default:
		err = fmt.Errorf("%w: unknown kind", errMessage)
	}
	if err != nil {
		return message{}, err
	}
	return m, nil
}

func (m *message) parseQuery(d bencode.Dict) error {
	m.kind = 'q'
	a, err := d.Dict("a")
	if err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	if m.method, err = d.String("q"); err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	if m.id, err = idOf(a, "id"); err != nil {
		return err
	}
	ro, _ := bencode.Get[int64](d, "ro")
	m.readOnly = ro != 0
	for _, key := range []string{"info_hash", "target"} {
		if !a.Has(key) {
			continue
		}
		if m.target, err = idOf(a, key); err != nil {
			return err
		}
		m.targeted = true
	}
	if token, ok := bencode.Get[string](a, "token"); ok && len(token) <= maxToken {
		m.token = token
	}
	if port, err := a.IntIn("port", 1, 65535); err == nil {
		m.port = uint16(port)
	}
	implied, _ := bencode.Get[int64](a, "implied_port")
	m.implied = implied != 0
	want, _ := bencode.Get[[]any](a, "want")
	for _, w := range want {
		m.want4 = m.want4 || w == "n4"
		m.want6 = m.want6 || w == "n6"
	}
	return nil
}

func (m *message) parseReply(d bencode.Dict) error {
	m.kind = 'r'
	r, err := d.Dict("r")
	if err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	if m.id, err = idOf(r, "id"); err != nil {
		return err
	}
	if token, ok := bencode.Get[string](r, "token"); ok && len(token) <= maxToken {
		m.token = token
	}
	if m.nodes, err = nodesOf(r, "nodes", 4, maxNodes); err != nil {
		return err
	}
	if m.nodes6, err = nodesOf(r, "nodes6", 16, maxNodes); err != nil {
		return err
	}
	values, _ := bencode.Get[[]any](r, "values")
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			continue
		}
		if ap, ok := parseCompact(s); ok && len(m.values) < maxValues {
			m.values = append(m.values, ap)
		}
	}
	return nil
}

// parseError reads an error, which BEP 5 has as a list and some clients as a
// text. Nothing depends on it but a line in the log.
func (m *message) parseError(d bencode.Dict) {
	m.code, m.text = 201, "unspecified"
	switch e := d["e"].(type) {
	case string:
		m.text = e
	case []any:
		for _, v := range e {
			switch v := v.(type) {
			case int64:
				if v >= 0 && v < 1000 {
					m.code = v
				}
			case string:
				m.text = v
			}
		}
	}
	m.text = m.text[:min(len(m.text), maxErrorText)]
}

func idOf(d bencode.Dict, key string) (id nodeID, err error) {
	s, err := d.String(key)
	if err != nil {
		return id, fmt.Errorf("%w: %w", errMessage, err)
	}
	if len(s) != len(id) {
		return id, fmt.Errorf("%w: %s of %d bytes", errMessage, key, len(s))
	}
	return nodeID([]byte(s)), nil
}

// nodesOf reads at most most compact node infos with addresses of ipLen bytes. Absence is
// no error; a length that is no multiple is one, since nothing tells where the
// entries begin.
func nodesOf(d bencode.Dict, key string, ipLen, most int) ([]nodeInfo, error) {
	s, ok := bencode.Get[string](d, key)
	if !ok {
		return nil, nil
	}
	stride := 20 + ipLen + 2
	if len(s)%stride != 0 {
		return nil, fmt.Errorf("%w: %s of %d bytes", errMessage, key, len(s))
	}
	var out []nodeInfo
	for ; len(s) > 0 && len(out) < most; s = s[stride:] {
		if addr, ok := parseCompact(s[20:stride]); ok {
			out = append(out, nodeInfo{nodeID([]byte(s[:20])), addr})
		}
	}
	return out, nil
}

// parseCompact reads an address of 4 or 16 bytes and a port.
func parseCompact(s string) (netip.AddrPort, bool) {
	if len(s) != 6 && len(s) != 18 {
		return netip.AddrPort{}, false
	}
	addr, _ := netip.AddrFromSlice([]byte(s[:len(s)-2]))
	port := binary.BigEndian.Uint16([]byte(s[len(s)-2:]))
	if addr.Is4In6() { // an IPv4 address does not become another by its spelling
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr, port), true
}

func appendCompact(b []byte, ap netip.AddrPort) []byte {
	b = append(b, ap.Addr().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, ap.Port())
}

func compactNodes(nodes []nodeInfo) string {
	var b []byte
	for _, n := range nodes {
		b = append(b, n.id[:]...)
		b = appendCompact(b, n.addr)
	}
	return string(b)
}

func compactValues(peers []netip.AddrPort) []any {
	out := make([]any, len(peers))
	for i, p := range peers {
		out[i] = string(appendCompact(nil, p))
	}
	return out
}

// forLibrary writes the message anew for the library, with the transaction id
// that it knows. Of a query it learns no more than that its sender exists.
func (m *message) forLibrary(tid string) ([]byte, error) {
	d := map[string]any{"t": tid, "y": string(rune(m.kind))}
	switch m.kind {
	case 'q':
		d["q"] = "ping"
		d["a"] = map[string]any{"id": string(m.id[:])}
		if m.readOnly {
			d["ro"] = 1
		}
	case 'r':
		r := map[string]any{"id": string(m.id[:])}
		if len(m.nodes) > 0 {
			r["nodes"] = compactNodes(m.nodes)
		}
		if len(m.nodes6) > 0 {
			r["nodes6"] = compactNodes(m.nodes6)
		}
		if m.token != "" {
			r["token"] = m.token
		}
		if len(m.values) > 0 {
			r["values"] = compactValues(m.values)
		}
		d["r"] = r
	case 'e':
		d["e"] = []any{m.code, m.text}
	}
	return bencode.Encode(d)
}
