package worker

import (
	"errors"
	"os"
	"syscall"
)

// mapRoom makes room for size octets behind those that the file has; nil where the file system can't.
func mapRoom(file *os.File, used, size int) (*room, error) {
	total := used + size
	err := error(syscall.EINTR)
	for errors.Is(err, syscall.EINTR) { // the runtime's own signals interrupt it
		err = syscall.Fallocate(int(file.Fd()), 0, 0, int64(total))
	}
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	memory, err := syscall.Mmap(int(file.Fd()), 0, total, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, file.Truncate(int64(used)) // as where there is none
	}
	return &room{memory: memory, used: used}, nil
}

// unmap gives the memory back, and returns where the lines end. No room is none to give back.
func (r *room) unmap() int {
	if r == nil {
		return 0
	}
	_ = syscall.Munmap(r.memory) // it fails for what was never mapped
	return r.used
}
