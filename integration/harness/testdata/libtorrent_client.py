"""A libtorrent client that runs until its standard input ends, or it is killed.

Every change of its state is a line of JSON on standard output. Peers come from
the tracker and from --peer alone, unless one of --pex, --lsd and --dht is given. The torrent may be a
magnet link.
"""
import argparse
import json
import select
import sys

import libtorrent as lt

parser = argparse.ArgumentParser()
parser.add_argument("torrent")
parser.add_argument("save_path")
parser.add_argument("--listen", required=True, help="ADDRESS:PORT")
parser.add_argument("--peer", action="append", default=[], help="ADDRESS:PORT")
parser.add_argument("--encrypted", action="store_true", help="only RC4, in both directions")
parser.add_argument("--utp", action="store_true", help="only uTP, in both directions")
parser.add_argument("--both", action="store_true", help="uTP beside TCP")
parser.add_argument("--slow", action="store_true", help="download next to nothing")
parser.add_argument("--lsd", action="store_true", help="look in the local network (BEP 14)")
parser.add_argument("--dht", action="append", default=[], help="be a node of the DHT, beginning with ADDRESS:PORT or none")
parser.add_argument("--pex", action="store_true", help="exchange peers")
parser.add_argument("--no-metadata", action="store_true", help="give the metadata to nobody")
parser.add_argument("--connect-timeout", type=int, default=15, help="seconds that a TCP connection may take")
parser.add_argument("--recheck", action="store_true", help="hash everything, whatever is known")
args = parser.parse_args()

settings = {
    "listen_interfaces": args.listen,
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False,
    "allow_multiple_connections_per_ip": True,
    "auto_sequential": False, "announce_to_all_trackers": True, "announce_to_all_tiers": True,
    "min_reconnect_time": 1, "connection_speed": 50, "peer_connect_timeout": args.connect_timeout,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
                  | lt.alert.category_t.tracker_notification | lt.alert.category_t.connect_notification | lt.alert.category_t.dht_notification,
}
if args.no_metadata:
    session = lt.session(settings, flags=0)
    session.add_extension("ut_pex")
else:
    session = lt.session(settings)
if args.encrypted:
    session.apply_settings({
        "in_enc_policy": 0, "out_enc_policy": 0, "allowed_enc_level": 2, "prefer_rc4": True,
    })
if args.utp:
    session.apply_settings({
        "enable_incoming_utp": True, "enable_outgoing_utp": True, "enable_incoming_tcp": False, "enable_outgoing_tcp": False,
    })
if args.both:
    session.apply_settings({"enable_incoming_utp": True, "enable_outgoing_utp": True})
if args.lsd:
    session.apply_settings({"enable_lsd": True})
if args.dht:
    nodes = [n for n in args.dht if n != "none"]
    session.apply_settings({
        "dht_bootstrap_nodes": ",".join(nodes), "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False,
        "dht_announce_interval": 10, "enable_dht": True,
    })
if args.torrent.startswith("magnet:"):
    params = lt.parse_magnet_uri(args.torrent)
else:
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(args.torrent)
params.save_path = args.save_path
params.flags &= ~lt.torrent_flags.auto_managed
params.flags &= ~lt.torrent_flags.paused
if not args.pex:
    params.flags |= lt.torrent_flags.disable_pex
torrent = session.add_torrent(params)
if args.slow:
    torrent.set_download_limit(1000)
if args.recheck:
    torrent.force_recheck()
for peer in args.peer:
    address, port = peer.rsplit(":", 1)
    torrent.connect_peer((address.strip("[]"), int(port)))

last = None
while not select.select([sys.stdin], [], [], 0.05)[0]:
    for alert in session.pop_alerts():
        print(type(alert).__name__, alert.message(), file=sys.stderr, flush=True)
    s = torrent.status()
    state = {
        "msg": "status", "state": str(s.state), "done": s.total_wanted_done, "total": s.total_wanted,
        "progress": s.progress, "downloaded": s.total_payload_download, "uploaded": s.total_payload_upload,
        "peers": s.num_peers, "seeding": s.is_seeding, "error": s.errc.message() if s.errc.value() else "",
    }
    if state != last:
        print(json.dumps(state), flush=True)
        last = state
