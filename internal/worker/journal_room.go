package worker

import "runtime/debug"

const (
	// minMapped is how many recipients a claim must have for room to be made ahead: fewer cost less with write(2).
	minMapped = 32
	// lineRoom is about what the lines of one recipient take, in octets. More than that only means that the last ones are
	// written otherwise.
	lineRoom = 160
)

// room is the part of a file that is mapped into memory behind its lines, filled with zeros, on blocks that are its own
// already: a full disk shows when room is made, not when a mail is on its way. What is copied there is the kernel's at once,
// as with write(2), and outlives the process.
type room struct {
	memory []byte
	used   int
}

// append copies text behind what is used; false if there is not enough room, or the disk fails under it.
func (r *room) append(text []byte) (ok bool) {
	if len(text) > len(r.memory)-r.used {
		return false
	}
	// A page that can't be had, because of the disk or because somebody has cut the file, is a fault of ours alone.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	copy(r.memory[r.used:], text)
	r.used += len(text)
	return true
}
