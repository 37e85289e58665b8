package guard

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func parse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// What a torrent may say to a host of this network is an announce and nothing else.
func TestIsAnnounce(t *testing.T) {
	for path, want := range map[string]bool{
		"/announce": true, "/announce/": true, "/announce.php": true, "/scrape": true, "/scrape.php": true,
		"/PASSKEY/announce": true, "/a1_b-C/announce.php": true, "/" + strings.Repeat("k", 128) + "/announce": true,
		"": false, "/": false, "/x": false, "//announce": false, "/announce//": false, "/a/b/announce": false, "/announce.cgi": false,
		"/announce;x": false, "/a.cgi/announce": false, "/a;b/announce": false, "/a%2Fb/announce": false, "/../announce": false,
		"/%61nnounce": false, "/an%6eounce": false, "/announce?x": false, "/announce?": false, "/announce?cmd=reboot": false,
		"/my-announce": false, "/Announce": false, "/" + strings.Repeat("k", 129) + "/announce": false,
	} {
		if got := IsAnnounce(parse(t, "http://127.0.0.1"+path)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	if IsAnnounce(parse(t, "http://user:word@127.0.0.1/announce")) {
		t.Error("a user and a password are sent")
	}
}

func TestIsFile(t *testing.T) {
	for path, want := range map[string]bool{
		"/a.bin": true, "/pub/iso/debian 12.iso": true, "/dl/a;b=c.bin": true, "/a+b&c.mkv": true, "/%C3%A9t%C3%A9.bin": true, "/x.torrent": true, "/50%25.bin": true,
		"": false, "/": false, "/reboot": false, "/switch/on": false, "/a.bin/": false, "/a.bin?x": false, "/a.bin?": false, "/.": false, "/x.": false,
		"/apply.cgi": false, "/apply.CGI": false, "/apply.cgi/x.bin": false, "/apply.cgi;x.bin": false, "/%61pply.cg%69/x.bin": false, "/cgi-bin/x.bin": false,
		"/goform/x.bin": false, "/a/../x.bin": false, "/a//x.bin": false, "/set.php": false, "/page.htm": false, "/state.json": false,
	} {
		if got := IsFile(parse(t, "http://127.0.0.1"+path)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestTrust(t *testing.T) {
	trust, err := ParseTrust("nas", "Tracker.Lan.", "10.0.0.0/8", " 192.168.1.2 ", "[fd00::1]", "fe80::1")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"nas": true, "NAS.": true, "tracker.lan": true, "10.9.8.7": true, "::ffff:10.9.8.7": true, "192.168.1.2": true, "192.168.1.2.": true, "fd00::1": true, "fe80::1%eth0": true,
		"x.nas": false, "lan": false, "11.0.0.1": false, "192.168.1.3": false, "fd00::2": false, "": false,
	} {
		if got := trust.Host(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	if (*Trust)(nil).Host("nas") || (*Trust)(nil).Addr(netip.MustParseAddr("10.0.0.1")) {
		t.Error("nil trusts somebody")
	}
	for _, bad := range []string{"", "http://nas", "nas:80", "10.0.0.1:80", "user@nas", "10.0.0.0/33", "*", "a b"} {
		if _, err := ParseTrust(bad); err == nil {
			t.Errorf("%q is a host", bad)
		}
	}
}

// The user's word opens what a stranger's does not, at the address of a name and behind a proxy as
// well. This machine's public addresses belong to it alone.
func TestTrustedAndOwn(t *testing.T) {
	names := map[string][]netip.Addr{
		"nas": {netip.MustParseAddr("192.168.1.2")}, "rebound.example": {netip.MustParseAddr("192.168.1.2")},
		"own.example": {netip.MustParseAddr("9.9.9.9")}, "both.example": {netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("8.8.8.8")},
	}
	trust, err := ParseTrust("nas", "10.1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	d := Dialer{
		Trust: trust, Own: func(a netip.Addr) bool { return a == netip.MustParseAddr("9.9.9.9") },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) { return names[host], nil },
	}
	for _, tt := range []struct {
		host  string
		local bool
		want  string // "": refused
	}{
		{"nas", false, "192.168.1.2"},
		{"10.1.2.3", false, "10.1.2.3"},
		{"10.1.2.4", false, ""},
		{"rebound.example", false, ""},
		{"rebound.example", true, ""},
		{"own.example", false, ""},
		{"own.example", true, "9.9.9.9"},
		{"9.9.9.9", false, ""},
		{"both.example", false, "8.8.8.8"},
	} {
		got, err := d.Resolve(WithLocal(t.Context(), tt.local), tt.host)
		if tt.want == "" {
			if !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), "--trust-host") {
				t.Errorf("%+v: %v, %v", tt, got, err)
			}
			continue
		}
		if err != nil || len(got) != 1 || got[0].String() != tt.want {
			t.Errorf("%+v: %v, %v", tt, got, err)
		}
	}
	for host, want := range map[string]bool{
		"nas": true, "10.1.2.3": true, "8.8.8.8": true, "tracker.example": true,
		"router": false, "10.1.2.4": false, "127.0.0.1": false, "169.254.169.254": false, "9.9.9.9": false, "127.1": false,
	} {
		if err := d.CheckRemote(host); (err == nil) != want {
			t.Errorf("through a proxy, %s: %v", host, err)
		}
	}
}

func TestOwn(t *testing.T) {
	own := ownOf([]netip.Prefix{netip.MustParsePrefix("9.9.9.9/24"), netip.MustParsePrefix("2001:db8:1:2::5/64"), netip.MustParsePrefix("2001:db8:ffff::1/32")})
	for addr, want := range map[string]bool{
		"9.9.9.9": true, "::ffff:9.9.9.9": true, "9.9.9.8": false,
		"2001:db8:1:2::5": true, "2001:db8:1:2::1": true, "2001:db8:1:3::1": false, "2001:db8:ffff::1": true,
	} {
		if own(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
	if !IsOwn(netip.MustParseAddr("127.0.0.1")) {
		t.Error("the system does not tell our addresses")
	}
}

func TestRedact(t *testing.T) {
	for raw, want := range map[string]string{
		"http://h/a.torrent": "http://h/a.torrent",
		"https://user:word@h:81/dl/a.torrent?id=5&pin=123": "https://h:81/dl/a.torrent?id=***&pin=***",
		"http://h/rss/0123456789abcdef0123/a.torrent":      "http://h/rss/***/a.torrent",
		"http://h/download.php?0123456789abcdef":           "http://h/download.php?***",
		"http://h/0123456789abcdef0123.torrent":            "http://h/***",
		"http://h/debian-bookworm-installer/a":             "http://h/debian-bookworm-installer/a",
		"http://h/a\x1b[2Jb":                               "***",
		"magnet:?xt=x":                                     "***",
		"":                                                 "***",
	} {
		if got := Redact(raw); got != want {
			t.Errorf("%q: %s, want %s", raw, got, want)
		}
	}
	if got := RedactHost("http://user:word@h:1/PASSKEY/announce?passkey=x"); got != "http://h:1" {
		t.Errorf("tracker: %s", got)
	}
	text := `Get "http://u:w@h/a?passkey=secret": refused, udp://t:1/KEY0123456789abcdef`
	if got, want := RedactText(text), `Get "http://h/a?passkey=***": refused, udp://t:1/***`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	u := parse(t, "http://me:hush@h/PASSKEY/announce.php?auth=s%20ecret&x=1")
	if got, want := Scrub("PASSKEY is unknown, s ecret, s%20ecret, me, hush, announce.php", u), "*** is unknown, ***, ***, me, ***, announce.php"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestRedactError(t *testing.T) {
	u := parse(t, "http://h/PASSKEY/announce")
	cause := fmt.Errorf("%w: failed to parse Location header %q", ErrForbidden, "http://me:word@h/x?passkey=hush")
	err := RedactError(cause, u)
	if !errors.Is(err, ErrForbidden) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "word@") {
		t.Error(err)
	}
	if plain := errors.New("connection refused"); RedactError(plain, u) != plain || RedactError(nil, u) != nil {
		t.Error("an error without a secret is another one")
	}
}

// FuzzLocalURL holds that what passes for an announce or a file says nothing else,
// however it is written, and that no secret of a URL is shown.
func FuzzLocalURL(f *testing.F) {
	for _, s := range []string{
		"http://127.0.0.1/apply.cgi/announce?cmd=reboot", "http://127.1/announce", "http://[::1]/KEY/announce", "http://10.0.0.1/a;b/announce",
		"http://u:p@h/%61/announce.php#x", "http://h/cgi-bin/x.bin", "http://h/a.php;x.bin", "http://h/dl/0123456789abcdef/a.bin?key=s3cr3tvalue",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil {
			return
		}
		if IsAnnounce(u) {
			rest := strings.Trim(u.EscapedPath(), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./")
			if rest != "" || u.RawQuery != "" || strings.Count(u.Path, "/") > 3 || strings.Contains(u.Path, "..") {
				t.Errorf("%q passes for an announce", raw)
			}
		}
		if IsFile(u) && (u.RawQuery != "" || strings.Contains(strings.ToLower(u.Path), ".cgi/") || strings.HasSuffix(u.Path, "/")) {
			t.Errorf("%q passes for a file", raw)
		}
		shown := Redact(raw)
		if strings.ContainsFunc(shown, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q is shown as %q", raw, shown)
		}
		if p, ok := u.User.Password(); ok && len(p) > 8 && !strings.Contains(u.Host+u.Path+u.RawQuery+u.Scheme, p) && strings.Contains(shown, p) {
			t.Errorf("%q shows the password: %s", raw, shown)
		}
		for key, values := range u.Query() {
			for _, v := range values {
				if len(v) > 8 && strings.Count(raw, v) == 1 && key != "" && strings.Contains(shown, v) {
					t.Errorf("%q shows the value of %s: %s", raw, key, shown)
				}
			}
		}
	})
}
