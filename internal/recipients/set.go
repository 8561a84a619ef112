package recipients

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// digest is the first 128 bits of SHA-256. Taking two different addresses for one would lose a mail: by accident that
// happens with a probability of 1.5e-27 in a list of a million (n²/2^129), and on purpose it takes 2^64 attempts.
// A shorter or a non-cryptographic hash would hold neither promise.
type digest struct{ hi, lo uint64 }

// segments divides the set by the digest's first byte, so that growing copies 1/256 of it at a time.
const segments = 256

// set remembers keys by their digest: open addressing with linear probing, at most 7/8 full, growing by a quarter. A
// million keys take 18 to 23 MB and no pointers, so that the garbage collector has nothing to follow.
type set struct {
	parts [segments]struct {
		slots []digest // the zero digest marks a free slot
		used  int
	}
}

// add adds the key and reports whether it was new.
func (s *set) add(key []byte) bool {
	sum := sha256.Sum256(key)
	d := digest{binary.BigEndian.Uint64(sum[1:]), binary.BigEndian.Uint64(sum[9:])}
	if d == (digest{}) {
		d.lo = 1
	}
	part := &s.parts[sum[0]]
	if part.used >= len(part.slots)/8*7 {
		grown := make([]digest, max(16, (len(part.slots)*5/4+7)&^7))
		for _, old := range part.slots {
			if old != (digest{}) {
				insert(grown, old)
			}
		}
		part.slots = grown
	}
	if !insert(part.slots, d) {
		return false
	}
	part.used++
	return true
}

// insert puts d into slots, which has a free one, and reports whether it was not there.
func insert(slots []digest, d digest) bool {
	start, _ := bits.Mul64(d.hi, uint64(len(slots))) // scales hi to an index without a division
	for i := int(start); ; i++ {
		if i == len(slots) {
			i = 0
		}
		switch slots[i] {
		case d:
			return false
		case digest{}:
			slots[i] = d
			return true
		}
	}
}
