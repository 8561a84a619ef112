package smtptest

import (
	"bytes"
	"errors"
	"strings"
)

// data performs DATA: the command, the body, and the final dot.
func (x *session) data() error {
	usual := "354 go ahead"
	if x.from == nil || len(x.to) == 0 {
		x.outOfOrder("DATA without a recipient")
		usual = "503 5.5.1 need RCPT first"
	}
	r := x.server.reaction(DATA, x.recipient())
	if r == nil {
		r = &Reaction{}
	}
	// A reply such as 354 starts the body; so would a raw one that contains it.
	if err := x.perform(r, usual, func() {}); err != nil {
		return err
	}
	reply := r.Reply + r.Raw
	if reply == "" && !r.Silent {
		reply = usual
	}
	if !strings.HasPrefix(reply, "354") {
		return nil
	}
	message, err := x.body()
	if err != nil {
		return err
	}
	return x.dot(message)
}

// body reads up to the final dot.
func (x *session) body() ([]byte, error) {
	if x.server.script.Discard {
		return nil, x.discard()
	}
	var message []byte
	for first := true; ; first = false {
		line, err := x.line(maxDataLine, "message")
		if err != nil {
			return nil, err
		}
		if first {
			x.showRead() // it has read our 354, which came behind the reply
			x.server.record(x.number, "<body>")
			if r := x.server.reaction(Body, x.recipient()); r != nil {
				if err := x.perform(r, "", func() {}); err != nil {
					return nil, err
				}
			}
		}
		if bytes.Equal(line, []byte(".")) {
			return message, nil
		}
		message = append(message, bytes.TrimPrefix(line, []byte("."))...)
		message = append(message, '\r', '\n')
	}
}

// discard reads up to the final dot as fast as it can: a sink must not be what is measured.
func (x *session) discard() error {
	for {
		line, err := x.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 3 && line[0] == '.' {
			return nil
		}
	}
}

// dot enters the message into the ledger, and only then replies.
func (x *session) dot(message []byte) error {
	x.server.record(x.number, ".")
	if x.from == nil || len(x.to) == 0 {
		return x.reply("554 5.5.1 no valid recipients") // RFC 2920 section 3.1
	}
	r := x.server.reaction(Dot, x.recipient())
	if r == nil {
		r = &Reaction{}
	}
	reply := r.Reply
	if reply == "" {
		reply = "250 2.0.0 queued"
	}
	accepted := strings.HasPrefix(reply, "250") && !r.Silent && r.Raw == "" || strings.HasPrefix(r.Raw, "250")
	entry := Entry{
		Session: x.number, From: *x.from, To: x.to, MailParams: x.params, Data: message,
		MessageID: messageID(message), Accepted: (accepted || r.Accept) && !r.Refuse,
	}
	index := x.server.enter(entry)
	x.from, x.to = nil, nil
	if !r.Silent && r.Raw == "" {
		x.server.replied(index, reply)
	}
	err := x.perform(r, reply, func() {})
	if !r.Silent && r.Raw == "" && (err == nil || errors.Is(err, errEnd)) {
		if flushErr := x.showReplied(entry, reply); flushErr != nil {
			return flushErr
		}
	}
	if err != nil {
		return err
	}
	if idle := x.server.reaction(Idle, ""); idle != nil {
		return x.perform(idle, "", func() {})
	}
	return nil
}

// showReplied tells that the reply is on its way.
func (x *session) showReplied(entry Entry, reply string) error {
	if x.server.script.OnReplied == nil {
		return nil
	}
	if err := x.out.Flush(); err != nil {
		return err
	}
	entry.Replied, entry.Reply = true, reply
	x.server.script.OnReplied(entry)
	x.unread = &entry
	return nil
}

// showRead tells that the client has read the reply to the last final dot.
func (x *session) showRead() {
	if entry := x.unread; entry != nil && x.server.script.OnRead != nil {
		x.server.script.OnRead(*entry)
	}
	x.unread = nil
}
