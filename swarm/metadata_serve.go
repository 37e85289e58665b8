package swarm

import "torrentfs/swarm/wire"

// maxMetadataServed is how many times the info dictionary goes to one
// connection. Nobody needs it twice; a few blocks may be asked for again.
const maxMetadataServed = 3

// serveMetadata answers a request for a block of the info dictionary (BEP 9).
func (t *Torrent) serveMetadata(c *peer, piece int) {
	if c.extIDs.Metadata == 0 {
		return
	}
	info := t.info.Bytes
	m := wire.Metadata{Type: wire.MetadataReject, Piece: piece}
	blocks := (len(info) + wire.MetadataBlock - 1) / wire.MetadataBlock
	if piece < blocks && c.metadataSent < maxMetadataServed*len(info) {
		m.Type, m.TotalSize = wire.MetadataData, int64(len(info))
		off := piece * wire.MetadataBlock
		m.Data = info[off:min(off+wire.MetadataBlock, len(info))]
		c.metadataSent += len(m.Data)
	}
	t.post(c, func(b []byte) []byte { return wire.AppendExtended(b, c.extIDs.Metadata, m.Append(nil)) })
}
