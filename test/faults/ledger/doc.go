// Package ledger is an SMTP relay that misbehaves as its recipients' addresses say, and whose book of what it accepted
// outlives it: each end of data is on the disk before its reply goes out, so that the relay itself may be killed (-9) and
// started again on the same file. Tests use Start; `go run ./test/faults/ledger/serve` is the same as a program.
//
// # What an address says
//
// The local part begins with a script and a plus sign: 450x2.552dot+jane@example.org. A script is one action or several,
// separated by dots, each used up before the next; then the relay is friendly. An address whose local part begins
// otherwise has no script. xN says how often an action is used, N up to 9999; x0 is for ever.
//
//	action            at      the relay                                                       xN unless said
//	4yz               RCPT    replies so; 421 also ends the connection                        1
//	5yz               RCPT    replies so                                                      for ever
//	drop              RCPT    ends the connection, without a reply                            1
//	4yzdata, 5yzdata  DATA    replies so                                                      1, for ever
//	dropdata          DATA    ends the connection, without a reply                            1
//	dropbeforedot     body    ends the connection (RST) when the body has begun               1
//	4yzdot, 5yzdot    dot     does not accept, and replies so                                 1, for ever
//	dropafterdot      dot     accepts, and ends the connection without a reply                1
//	lostafterdot      dot     does not accept, and ends the connection without a reply        1
//	garbage           dot     accepts, and sends a line that is no reply                      1
//	half              dot     accepts, sends half a reply, and ends the connection            1
//	slow              dot     accepts, and replies octet by octet, 20 ms apart                for ever
//	250drop           dot     accepts, replies 250, and ends the connection                   1
//
// Who sends body and final dot in one write can't tell dropbeforedot from lostafterdot.
//
// Next gives a script to whatever mails come next, whoever they are for; a recipient's own script comes first. There the
// first three of these are known too: 421connect (4yzconnect, 5yzconnect), 4yzmail, 5yzmail, and drop, which may then hit
// any mail. Counts begin anew when the relay does.
//
// # What the book says
//
// A file of JSON lines, one for each event of a final dot. It has no addresses and no texts: a recipient is known by Key, a
// mail by its Message-ID and the SHA-256 of its octets. Three lines tell how far a mail's reply has certainly come: "data" is
// written and synced before the reply, "replied" when the whole reply was handed to the network, "read" when the client has
// shown that it read it. Between the last two, a network that is cut or a client that is killed may have lost it.
package ledger
