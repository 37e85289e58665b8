package portmap

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// serveUDP answers datagrams at an address until the test ends.
func serveUDP(t *testing.T, addr string, answer func(b []byte) []byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp4", addr)
	if err != nil {
		t.Skipf("listen on %s: %v", addr, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := answer(buf[:n]); out != nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

// pcpAnswer is what a PCP router says, changed by tests.
func pcpAnswer(req []byte, code byte, external netip.Addr) []byte {
	b := append([]byte(nil), req...)
	b[1] |= 0x80
	b[2], b[3] = 0, code
	clear(b[8:pcpHeader])
	if len(b) >= pcpMapLength {
		binary.BigEndian.PutUint16(b[42:], binary.BigEndian.Uint16(b[42:])+1)
		a := external.As16()
		copy(b[44:], a[:])
	}
	return b
}

func TestPCP(t *testing.T) {
	var mu sync.Mutex
	var lives []uint32
	lost := 0
	addr := serveUDP(t, "127.0.0.1:0", func(b []byte) []byte {
		if lost++; lost == 1 {
			return nil // the client asks again
		}
		if b[0] != pcpVersion || len(b) < pcpHeader || netip.AddrFrom16([16]byte(b[8:24])) != netip.MustParseAddr("::ffff:127.0.0.1") {
			return pcpAnswer(b, 1, netip.Addr{})
		}
		if b[1] == pcpMap {
			mu.Lock()
			lives = append(lives, binary.BigEndian.Uint32(b[4:]))
			mu.Unlock()
		}
		return pcpAnswer(b, 0, netip.MustParseAddr("81.2.3.4"))
	})
	g := &pcp{route: Route{Local: addr.Addr(), Gateway: addr.Addr()}, port: addr.Port(), nonce: [12]byte{1, 2, 3}}
	port, granted, err := g.Map(t.Context(), Mapping{UDP, 6881}, 6881, time.Hour)
	if err != nil || port != 6882 || granted != time.Hour {
		t.Errorf("Map: %d for %v, %v", port, granted, err)
	}
	if a, err := g.External(t.Context()); err != nil || a != netip.MustParseAddr("81.2.3.4") {
		t.Errorf("External: %v, %v", a, err)
	}
	if err := g.Unmap(t.Context(), Mapping{UDP, 6881}, port); err != nil {
		t.Errorf("Unmap: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(lives) != 2 || lives[0] != 3600 || lives[1] != 0 {
		t.Errorf("lives %v", lives)
	}
}

func TestPCPBadAnswers(t *testing.T) {
	good := func(b []byte) []byte { return pcpAnswer(b, 0, netip.Addr{}) }
	for name, change := range map[string]func(b []byte) []byte{
		"refused":       func(b []byte) []byte { return pcpAnswer(b, 2, netip.Addr{}) },
		"NAT-PMP alone": func([]byte) []byte { return []byte{0, 0x80, 0, 1, 0, 0, 0, 0} },
		"other nonce":   func(b []byte) []byte { b = good(b); b[24]++; return b },
		"other port":    func(b []byte) []byte { b = good(b); b[40]++; return b },
		"other protocol": func(b []byte) []byte {
			b = good(b)
			b[36] ^= 1
			return b
		},
	} {
		addr := serveUDP(t, "127.0.0.1:0", change)
		g := &pcp{route: Route{Local: addr.Addr(), Gateway: addr.Addr()}, port: addr.Port()}
		if _, _, err := g.Map(t.Context(), Mapping{TCP, 6881}, 6881, time.Hour); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// No router there: it ends with the context.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	silent := serveUDP(t, "127.0.0.1:0", func([]byte) []byte { return nil })
	g := &pcp{route: Route{Local: silent.Addr(), Gateway: silent.Addr()}, port: silent.Port()}
	if _, _, err := g.Map(ctx, Mapping{TCP, 6881}, 6881, time.Hour); err == nil {
		t.Error("silence: no error")
	}
}

func TestPMP(t *testing.T) {
	addr := serveUDP(t, "127.0.0.117:5351", func(b []byte) []byte {
		switch b[1] {
		case 0:
			return []byte{0, 128, 0, 0, 0, 0, 0, 1, 81, 2, 3, 4}
		default:
			out := []byte{0, b[1] | 128, 0, 0, 0, 0, 0, 1, b[4], b[5], b[6], b[7], 0, 0, 0, 0}
			copy(out[12:], b[8:12])
			return out
		}
	})
	g, err := findPMP(t.Context(), Route{Local: netip.MustParseAddr("127.0.0.1"), Gateway: addr.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	port, granted, err := g.Map(t.Context(), Mapping{UDP, 6881}, 7000, time.Hour)
	if err != nil || port != 7000 || granted != time.Hour {
		t.Errorf("Map: %d for %v, %v", port, granted, err)
	}
	if a, err := g.External(t.Context()); err != nil || a != netip.MustParseAddr("81.2.3.4") {
		t.Errorf("External: %v, %v", a, err)
	}
	if err := g.Unmap(t.Context(), Mapping{UDP, 6881}, port); err != nil {
		t.Errorf("Unmap: %v", err)
	}
}

const description = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">%s<device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><serviceId>x</serviceId>
<controlURL>%s</controlURL></service></serviceList></device></deviceList></device></deviceList></device></root>`

// igd is a UPnP router on loopback.
type igd struct {
	mu        sync.Mutex
	mapped    map[string]string // protocol and external port: what the request said
	taken     map[string]bool
	permanent bool
	control   string
	base      string
}

func (g *igd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Method == http.MethodGet {
		fmt.Fprintf(w, description, g.base, g.control)
		return
	}
	body, _ := io.ReadAll(r.Body)
	arg := func(name string) string {
		m := regexp.MustCompile(`<` + name + `>([^<]*)</`).FindSubmatch(body)
		if m == nil {
			return ""
		}
		return string(m[1])
	}
	key := arg("NewProtocol") + arg("NewExternalPort")
	_, action, _ := strings.Cut(strings.Trim(r.Header.Get("SOAPACTION"), `"`), "#")
	fault := 0
	out := ""
	switch action {
	case "AddPortMapping":
		switch {
		case g.permanent && arg("NewLeaseDuration") != "0":
			fault = upnpOnlyPermanent
		case g.taken[key]:
			fault = upnpConflict
		default:
			g.mapped[key] = arg("NewInternalClient") + ":" + arg("NewInternalPort") + " " + arg("NewPortMappingDescription")
		}
	case "DeletePortMapping":
		delete(g.mapped, key)
	case "GetExternalIPAddress":
		out = "<NewExternalIPAddress>81.2.3.4</NewExternalIPAddress>"
	}
	envelope := `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>%s</s:Body></s:Envelope>`
	if fault != 0 {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, envelope, fmt.Sprintf(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>%d</errorCode></UPnPError></detail></s:Fault>`, fault))
		return
	}
	fmt.Fprintf(w, envelope, `<u:`+action+`Response xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1">`+out+`</u:`+action+`Response>`)
}

// startIGD returns the address that answers searches.
func startIGD(t *testing.T, g *igd) netip.AddrPort {
	t.Helper()
	g.mapped = make(map[string]string)
	srv := httptest.NewServer(g)
	t.Cleanup(srv.Close)
	return serveUDP(t, "127.0.0.1:0", func(b []byte) []byte {
		if !strings.HasPrefix(string(b), "M-SEARCH * HTTP/1.1\r\n") {
			return nil
		}
		return []byte("HTTP/1.1 200 OK\r\nST: x\r\nLOCATION: " + srv.URL + "/desc.xml\r\n\r\n")
	})
}

func TestUPnP(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	for _, permanent := range []bool{false, true} {
		g := &igd{control: "/control", permanent: permanent, taken: map[string]bool{"TCP6881": true}}
		gw, err := searchUPnP(t.Context(), Route{Local: local}, []netip.AddrPort{startIGD(t, g)}, "torrentfs")
		if err != nil {
			t.Fatal(err)
		}
		port, granted, err := gw.Map(t.Context(), Mapping{TCP, 6881}, 6881, time.Hour)
		if err != nil || port == 6881 || port < 1024 || (granted == 0) != permanent {
			t.Errorf("Map: %d for %v, %v", port, granted, err)
		}
		if got := g.mapped[fmt.Sprint("TCP", port)]; got != "127.0.0.1:6881 torrentfs" {
			t.Errorf("mapped %q", g.mapped)
		}
		if a, err := gw.External(t.Context()); err != nil || a != netip.MustParseAddr("81.2.3.4") {
			t.Errorf("External: %v, %v", a, err)
		}
		if err := gw.Unmap(t.Context(), Mapping{TCP, 6881}, port); err != nil || len(g.mapped) != 0 {
			t.Errorf("Unmap: %v, left %v", err, g.mapped)
		}
	}
}

// A description, a base or a control URL on another host is not followed.
func TestUPnPElsewhere(t *testing.T) {
	for name, g := range map[string]*igd{
		"control": {control: "http://127.0.0.2/control"},
		"base":    {control: "/control", base: "<URLBase>http://127.0.0.2/</URLBase>"},
		"broken":  {control: "<"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if gw, err := searchUPnP(ctx, Route{Local: netip.MustParseAddr("127.0.0.1")}, []netip.AddrPort{startIGD(t, g)}, "x"); err == nil {
			t.Errorf("%s: found %s", name, gw.Name())
		}
		cancel()
	}
	host := netip.MustParseAddr("192.168.1.1")
	for location, want := range map[string]bool{
		"http://192.168.1.1:5000/desc.xml": true, "http://192.168.1.2/": false, "http://router.local/": false,
		"https://192.168.1.1/": false, "file:///etc/passwd": false, "": false,
	} {
		_, err := parseSSDP([]byte("HTTP/1.1 200 OK\r\nLOCATION: "+location+"\r\n\r\n"), host)
		if (err == nil) != want {
			t.Errorf("%q: %v", location, err)
		}
	}
}

func FuzzSSDP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1/\r\n\r\n"))
	host := netip.MustParseAddr("192.168.1.1")
	f.Fuzz(func(t *testing.T, b []byte) {
		if u, err := parseSSDP(b, host); err == nil && u.Hostname() != "192.168.1.1" && u.Hostname() != "::ffff:192.168.1.1" {
			t.Errorf("%q leads to %v", b, u)
		}
	})
}

func FuzzDescription(f *testing.F) {
	f.Add(fmt.Sprintf(description, "", "/control"))
	f.Add(fmt.Sprintf(description, "<URLBase>http://10.0.0.1/</URLBase>", "/control"))
	loc := &url.URL{Scheme: "http", Host: "192.168.1.1:80", Path: "/"}
	f.Fuzz(func(_ *testing.T, s string) { _, _ = parseDescription(strings.NewReader(s), loc, nil) })
}

func FuzzPCP(f *testing.F) {
	f.Add(make([]byte, 60), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, opcode byte) {
		if ok, err := checkPCP(b, opcode, pcpMapLength); ok && err == nil && len(b) < pcpMapLength {
			t.Error("a short answer counts")
		}
	})
}

func FuzzPMP(f *testing.F) {
	f.Add([]byte{0, 128, 0, 0, 0, 0, 0, 1, 81, 2, 3, 4}, byte(pmpExternal))
	f.Add([]byte{2, 128, 0, 1}, byte(pmpExternal))
	f.Add([]byte{0, 130, 0, 0, 0, 0, 0, 1, 26, 225, 26, 225, 0, 0, 14, 16}, byte(pmpMapTCP))
	f.Fuzz(func(t *testing.T, b []byte, opcode byte) {
		ok, err := checkPMP(b, opcode, pmpMapLength)
		if ok && (err != nil || len(b) < pmpMapLength || b[0] != 0 || b[1] != opcode|0x80 || b[2] != 0 || b[3] != 0) {
			t.Errorf("took %x for an answer to %d: %v", b, opcode, err)
		}
	})
}

// What is no answer, or a refusal, is told apart.
func TestPMPRefusals(t *testing.T) {
	for _, tt := range []struct {
		b       string
		ok, err bool
	}{
		{"", false, false},
		{"\x00\x81\x00\x00", false, false}, // too short
		{"\x00\x80\x00\x00\x00\x00\x00\x01\x01\x02\x03\x04", false, false}, // to another request
		{"\x02\x81\x00\x01", false, true},                                  // PCP alone
		{"\x00\x81\x00\x02\x00\x00\x00\x01", false, true},
		{"\x00\x81\x00\x00\x00\x00\x00\x01\x1a\xe1\x1a\xe1\x00\x00\x0e\x10", true, false},
	} {
		if ok, err := checkPMP([]byte(tt.b), pmpMapUDP, pmpMapLength); ok != tt.ok || (err != nil) != tt.err {
			t.Errorf("%q: %v, %v", tt.b, ok, err)
		}
	}
}
