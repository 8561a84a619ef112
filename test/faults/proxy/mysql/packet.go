package mysql

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// The protocol: dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html.
const (
	headerSize = 4
	// fullPacket is the size of a packet that another one continues.
	fullPacket = 1<<24 - 1

	comQuit         = 0x01
	comQuery        = 0x03
	comPing         = 0x0e
	comPrepare      = 0x16
	comExecute      = 0x17
	comLongData     = 0x18
	comStmtClose    = 0x19
	capabilitySSL   = 1 << 11
	capabilityQAttr = 1 << 27

	okPacket    = 0x00
	errPacket   = 0xff
	localInfile = 0xfb
)

// packet is one packet as it was on the wire, header included.
type packet []byte

func (p packet) sequence() byte  { return p[3] }
func (p packet) payload() []byte { return p[headerSize:] }
func (p packet) full() bool      { return len(p) == headerSize+fullPacket }

// first is the first byte of the payload; 0xfe if there is none.
func (p packet) first() byte {
	if len(p) == headerSize {
		return 0xfe
	}
	return p[headerSize]
}

func readPacket(r *bufio.Reader) (packet, error) {
	header, err := r.Peek(headerSize)
	if err != nil {
		return nil, fmt.Errorf("reading the header of a packet: %w", err)
	}
	size := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	p := make(packet, headerSize+size)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, fmt.Errorf("reading a packet: %w", err)
	}
	return p, nil
}

// Error is a reply by which the server refuses a statement.
type Error struct {
	// Code is the server's number of the error, State its SQLSTATE.
	Code  uint16
	State string
	Text  string
}

// The errors that this proxy is made for (MySQL and MariaDB error references).
var (
	TooManyConnections = Error{1040, "08004", "Too many connections"}
	Shutdown           = Error{1053, "08S01", "Server shutdown in progress"}
	TableFull          = Error{1114, "HY000", "The table is full"}
	LockWaitTimeout    = Error{1205, "HY000", "Lock wait timeout exceeded; try restarting transaction"}
	Deadlock           = Error{1213, "40001", "Deadlock found when trying to get lock; try restarting transaction"}
	OptionPrevents     = Error{1290, "HY000", "The server is running with the --read-only option so it cannot execute this statement"}
	Interrupted        = Error{1317, "70100", "Query execution was interrupted"}
	ReadOnlyMode       = Error{1836, "HY000", "Running in read-only mode"}
	DiskFull           = Error{1021, "HY000", "Disk full; waiting for someone to free some space..."}
)

// packet is the error as a reply with that sequence number. Before the handshake a server sends no SQLSTATE.
func (e Error) packet(sequence byte) packet {
	payload := binary.LittleEndian.AppendUint16([]byte{errPacket}, e.Code)
	if sequence > 0 {
		payload = append(append(payload, '#'), e.State...)
	}
	payload = append(payload, e.Text...)
	return append(packet{byte(len(payload)), byte(len(payload) >> 8), 0, sequence}, payload...)
}
