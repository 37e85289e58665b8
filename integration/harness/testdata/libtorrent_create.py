"""Makes a torrent with libtorrent: SOURCE OUTPUT KIND PIECE_LENGTH [TRACKER...]"""
import os
import sys

import libtorrent as lt

source, output, kind, piece_length, *trackers = sys.argv[1:]
flags = {
    "v1": lt.create_torrent.v1_only,
    "v1-pads": lt.create_torrent.v1_only | lt.create_torrent.canonical_files,
    "v2": lt.create_torrent.v2_only,
    "hybrid": 0,
}[kind] | lt.create_torrent.symlinks
storage = lt.file_storage()
lt.add_files(storage, source, flags=flags)
creator = lt.create_torrent(storage, int(piece_length), flags)
for tracker in trackers:
    creator.add_tracker(tracker)
lt.set_piece_hashes(creator, os.path.dirname(source))
with open(output, "wb") as file:
    file.write(lt.bencode(creator.generate()))
