package guard

import (
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"torrentfs/net/egress"
)

// maxKey bounds the passkey in a path.
const maxKey = 128

// IsAnnounce reports whether a URL can be nothing but that of a tracker, in any torrent: /announce,
// /announce.php, the scrape addresses of these (BEP 48), and the same below one element that a
// passkey could be. It has no query: a query can be a command to another service.
func IsAnnounce(u *url.URL) bool {
	if u.RawQuery != "" || u.ForceQuery || u.User != nil {
		return false
	}
	key, last, found := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(u.EscapedPath(), "/"), "/"), "/")
	if !found {
		key, last = "", key
	}
	if found && !isKey(key) {
		return false
	}
	return slices.Contains([]string{"announce", "announce.php", "scrape", "scrape.php"}, last)
}

// isKey reports whether a path's element looks like a passkey.
func isKey(s string) bool {
	return len(s) > 0 && len(s) <= maxKey && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// scriptNames are elements of paths below which programs are run, not files served.
var scriptNames = []string{"cgi-bin", "cgi", "goform", "api", "rpc", "jsonrpc", "exec", "run"}

// scriptTypes are the endings of names that servers run, or that pages of devices have.
var scriptTypes = []string{
	".cgi", ".fcgi", ".pl", ".py", ".sh", ".lua", ".rb", ".php", ".php3", ".php4", ".php5", ".phtml", ".asp", ".aspx", ".ashx", ".asmx",
	".jsp", ".jspx", ".do", ".action", ".dll", ".exe", ".cfm", ".htm", ".html", ".shtml", ".xhtml", ".stm", ".json", ".xml", ".xgi", ".gch",
}

// IsFile reports whether a URL looks like that of a file that a web server has
// lying there, and not like a command to one: no query, no element that servers
// run as a program, and a name at the end with a type that is not one of these.
func IsFile(u *url.URL) bool {
	if u.RawQuery != "" || u.ForceQuery || u.User != nil {
		return false
	}
	elems := strings.Split(strings.ToLower(strings.TrimPrefix(u.Path, "/")), "/")
	for _, e := range elems {
		if e == "" || e == "." || e == ".." || slices.Contains(scriptNames, e) {
			return false
		}
		if before, _, found := strings.Cut(e, ";"); slices.Contains(scriptTypes, path.Ext(e)) || found && slices.Contains(scriptTypes, path.Ext(before)) {
			return false
		}
	}
	ext := path.Ext(elems[len(elems)-1])
	return len(ext) > 1
}

// IsOwn reports whether an address is one of this machine, or an IPv6 address of a network that it
// is in: those are public, but not the Internet at large.
func IsOwn(addr netip.Addr) bool { return ownOf(egress.OwnPrefixes())(addr) }

// minOwnBits is the length of the shortest IPv6 prefix that counts as one user's own network.
const minOwnBits = 48

func ownOf(own []netip.Prefix) func(netip.Addr) bool {
	return func(addr netip.Addr) bool {
		addr = addr.Unmap().WithZone("")
		for _, p := range own {
			if p.Addr() == addr || addr.Is6() && p.Bits() >= minOwnBits && p.Contains(addr) {
				return true
			}
		}
		return false
	}
}
