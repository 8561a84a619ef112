package smtp

// Stats is a pool at one moment, for metrics.
type Stats struct {
	// Busy are the connections in use, Idle the others, Dialing those being made.
	Busy, Idle, Dialing int
	// Limit is how many there may be at present, between 1 and Config.MaxConnections: fewer if the relay complained.
	Limit int
	// Waiting are the mails without a connection.
	Waiting int
	// Pipelining: commands are sent together where the relay offers it. It is false for a while after it mixed up replies.
	Pipelining bool
	// Sent, Followed, Dials, Cuts and Disorders count, since the pool was made: mails that were accepted; mails opened
	// behind another's final dot; connections made; times that Limit was lowered; connections dropped because replies did
	// not fit the commands.
	Sent, Followed, Dials, Cuts, Disorders uint64
}

type counts struct{ sent, followed, dials, disorders uint64 }

// Stats returns the pool's gauges and counters. It is cheap enough for every scrape.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{
		Busy: len(p.conns) - len(p.idle), Idle: len(p.idle), Dialing: p.dialing,
		Limit: p.limit.now, Waiting: len(p.waiters), Pipelining: p.trust.grouping(p.cfg.Now()),
		Sent: p.counts.sent, Followed: p.counts.followed, Dials: p.counts.dials,
		Cuts: uint64(p.limit.cuts), Disorders: p.counts.disorders,
	}
}
