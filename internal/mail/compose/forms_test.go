package compose

import (
	"strings"

	"github.com/cartero-mail/cartero/internal/mail"
)

// form is one form of a mail: what goes in, and what a receiver must find.
type form struct {
	content mail.Content
	to      Recipient
	want    received
}

// received is what an independent parser reads.
type received struct {
	// Headers are all fields but those of every mail, in order, unfolded and decoded.
	Headers [][2]string
	// From and To are display name and address.
	From, To [2]string
	Shape    string
	Parts    []receivedPart
}

// receivedPart is a leaf: its text, or else its data.
type receivedPart struct {
	Type, Disposition, Name, ID string
	Text                        string
	Data                        []byte
}

var png = []byte("\x89PNG\r\n\x1a\n not quite an image, \x00 but binary")

func textPart(text string) receivedPart { return receivedPart{Type: "text/plain", Text: text} }
func htmlPart(text string) receivedPart { return receivedPart{Type: "text/html", Text: text} }

// forms are the forms by name: each has a golden file.
func forms() map[string]form {
	from := [2]string{"Noticias", "news@sender.example"}
	to := [2]string{"Ana Núñez", "ana@receiver.example"}
	content := func(change func(*mail.Content)) mail.Content {
		c := mail.Content{From: mail.Address{Name: from[0], Address: from[1]}, Subject: "Hello", Mustache: true}
		change(&c)
		return c
	}
	recipient := func(change func(*Recipient)) Recipient {
		r := newRecipient()
		r.UnsubscribeURL = ""
		change(&r)
		return r
	}
	same := func(*Recipient) {}
	subject := [2]string{"Subject", "Hello"}
	report, logo := []byte("%PDF-1.7 no report"), mail.Attachment{Name: "logo.png", ContentType: "image/png", ContentID: "logo", Data: png}
	all := map[string]form{
		"plain": {
			content(func(c *mail.Content) { c.Text = "Hello {{name}},\n.\n.. dots\n\nFrom here = there. \n" }), recipient(same),
			received{
				Headers: [][2]string{subject}, From: from, To: to, Shape: "text/plain",
				Parts: []receivedPart{textPart("Hello Ana Núñez,\n.\n.. dots\n\nFrom here = there. \n")},
			},
		},
		"html": {
			content(func(c *mail.Content) { c.HTML = "<!--[if mso]><v:rect/><![endif]-->\n<p>{{plan}}, {{{plan}}}</p>\n" }), recipient(same),
			received{
				Headers: [][2]string{subject}, From: from, To: to, Shape: "text/html",
				Parts: []receivedPart{htmlPart("<!--[if mso]><v:rect/><![endif]-->\n<p>Pro &amp; más, Pro & más</p>\n")},
			},
		},
		"derived": {
			content(func(c *mail.Content) {
				c.DeriveText = true
				c.HTML = "<h1>Hi {{name}}</h1><ul><li>Tea<li>Milk</ul><a href=\"{{unsubscribeURL}}\">Leave</a>"
			}),
			recipient(func(r *Recipient) { r.UnsubscribeURL = "https://x.example/u?a=1&b=2" }),
			received{
				Headers: [][2]string{{"List-Unsubscribe", "<https://x.example/u?a=1&b=2>"}, subject}, From: from, To: to,
				Shape: "alternative(text/plain text/html)",
				Parts: []receivedPart{
					textPart("Hi Ana Núñez\n\n- Tea\n- Milk\n\nLeave (https://x.example/u?a=1&b=2)\n"),
					htmlPart("<h1>Hi Ana Núñez</h1><ul><li>Tea<li>Milk</ul><a href=\"https://x.example/u?a=1&amp;b=2\">Leave</a>"),
				},
			},
		},
		"both": {
			content(func(c *mail.Content) {
				c.Text, c.HTML, c.Mustache = "{{not a tag}}\n", "<p>{{not a tag}}</p>\n", false
				c.ReplyTo = []string{"Support <help@sender.example>", "ops@sender.example"}
			}),
			recipient(func(r *Recipient) { r.Name = "" }),
			received{
				Headers: [][2]string{subject, {"Reply-To", "Support <help@sender.example>, ops@sender.example"}}, From: from, To: [2]string{"", to[1]},
				Shape: "alternative(text/plain text/html)", Parts: []receivedPart{textPart("{{not a tag}}\n"), htmlPart("<p>{{not a tag}}</p>\n")},
			},
		},
		"attachments": {
			content(func(c *mail.Content) {
				c.Text = "See {{plan}}."
				c.Attachments = []mail.Attachment{
					{Name: "report.pdf", ContentType: "application/pdf", Data: report},
					{Name: "año \"2026\".csv", ContentType: "text/csv; charset=utf-8", Data: []byte("a,b\né,1\n")},
					{Name: strings.Repeat("informe muy largo ", 8) + "ñ.bin", ContentType: "application/octet-stream", Data: png},
					{Name: "empty.bin", ContentType: "application/octet-stream"},
				}
			}), recipient(same),
			received{
				Headers: [][2]string{subject}, From: from, To: to, Shape: "mixed(text/plain application/pdf text/csv application/octet-stream application/octet-stream)",
				Parts: []receivedPart{
					textPart("See Pro & más."),
					{Type: "application/pdf", Disposition: "attachment", Name: "report.pdf", Data: report},
					{Type: "text/csv", Disposition: "attachment", Name: "año \"2026\".csv", Text: "a,b\né,1\n"},
					{Type: "application/octet-stream", Disposition: "attachment", Name: strings.Repeat("informe muy largo ", 8) + "ñ.bin", Data: png},
					{Type: "application/octet-stream", Disposition: "attachment", Name: "empty.bin", Data: []byte{}},
				},
			},
		},
		"images": {
			content(func(c *mail.Content) {
				c.Text, c.HTML = "Hello", "<img src=\"cid:logo\" alt=\"Logo\"><p>{{name}}"
				c.Attachments = []mail.Attachment{logo, {Name: "report.pdf", ContentType: "application/pdf", Data: report}}
			}), recipient(same),
			received{
				Headers: [][2]string{subject}, From: from, To: to, Shape: "mixed(alternative(text/plain related(text/html image/png)) application/pdf)",
				Parts: []receivedPart{
					textPart("Hello"), htmlPart("<img src=\"cid:logo\" alt=\"Logo\"><p>Ana Núñez"),
					{Type: "image/png", Disposition: "inline", Name: "logo.png", ID: "<logo>", Data: png},
					{Type: "application/pdf", Disposition: "attachment", Name: "report.pdf", Data: report},
				},
			},
		},
		"base64": {
			content(func(c *mail.Content) {
				c.Subject = "こんにちは、{{name}}さん。" + strings.Repeat("お元気ですか。", 8)
				c.Text = strings.Repeat("こんにちは世界。\n", 12) + "{{name}}"
			}), recipient(same),
			received{
				Headers: [][2]string{{"Subject", "こんにちは、Ana Núñezさん。" + strings.Repeat("お元気ですか。", 8)}}, From: from, To: to, Shape: "text/plain",
				Parts: []receivedPart{textPart(strings.Repeat("こんにちは世界。\n", 12) + "Ana Núñez")},
			},
		},
	}
	headerForms(all, content, recipient)
	return all
}

// headerForms are the forms that differ in their header.
func headerForms(all map[string]form, content func(func(*mail.Content)) mail.Content, recipient func(func(*Recipient)) Recipient) {
	from, to := [2]string{"Noticias", "news@sender.example"}, [2]string{"Ana Núñez", "ana@receiver.example"}
	hello := []receivedPart{textPart("Hello\n")}
	subject := [2]string{"Subject", "Hello"}
	same := func(*Recipient) {}
	long := strings.Repeat("un asunto muy largo ", 12) + "fin"
	all["encoded-words"] = form{
		content(func(c *mail.Content) {
			c.Text, c.Subject = "Hello\n", "¡Qué día, {{name}}! =?UTF-8?q?no?="
			c.From.Name = "Núñez, \"Cía.\" (Madrid)"
			c.Headers = map[string]string{"X-Plan": "{{plan}} →", "X-Owner": "José =?x?="}
		}), recipient(same),
		received{
			Headers: [][2]string{{"Subject", "¡Qué día, Ana Núñez! =?UTF-8?q?no?="}, {"X-Owner", "José =?x?="}, {"X-Plan", "Pro & más →"}},
			From:    [2]string{"Núñez, \"Cía.\" (Madrid)", from[1]}, To: to, Shape: "text/plain", Parts: hello,
		},
	}
	all["long-headers"] = form{
		content(func(c *mail.Content) {
			c.Text, c.Subject = "Hello\n", "{{city}} "+long
			c.From.Name = strings.Repeat("Nombre ", 20) + "final"
			c.Headers = map[string]string{"X-Long": strings.Repeat("word-{{plan}}-word ", 10) + strings.Repeat("x", 300)}
		}), recipient(func(r *Recipient) {
			r.Variables["city"], r.Variables["plan"] = "Leon", "pro"
		}),
		received{
			Headers: [][2]string{{"Subject", "Leon " + long}, {"X-Long", strings.Repeat("word-pro-word ", 10) + strings.Repeat("x", 300)}},
			From:    [2]string{strings.Repeat("Nombre ", 20) + "final", from[1]}, To: to, Shape: "text/plain", Parts: hello,
		},
	}
	all["unsubscribe"] = form{
		content(func(c *mail.Content) {
			c.Text, c.ListID, c.ListName, c.OneClick = "Hello\n", "news.sender.example", "Boletín de noticias", true
		}), recipient(func(r *Recipient) {
			r.UnsubscribeURL = "https://sender.example/u/" + strings.Repeat("0123456789abcdef", 6)
			r.UnsubscribeMailto = "mailto:leave@sender.example?subject=0123456789abcdef"
		}),
		received{
			Headers: [][2]string{
				{"List-Id", "Boletín de noticias <news.sender.example>"},
				{
					"List-Unsubscribe", "<https://sender.example/u/" + strings.Repeat("0123456789abcdef", 6) +
						">, <mailto:leave@sender.example?subject=0123456789abcdef>",
				},
				{"List-Unsubscribe-Post", "List-Unsubscribe=One-Click"},
				subject,
			}, From: from, To: to, Shape: "text/plain", Parts: hello,
		},
	}
	all["transactional"] = form{
		content(func(c *mail.Content) { c.Text, c.AutoSubmitted = "Hello\n", true }), recipient(same),
		received{Headers: [][2]string{{"Auto-Submitted", "auto-generated"}, subject}, From: from, To: to, Shape: "text/plain", Parts: hello},
	}
	all["utf8-address"] = form{
		content(func(c *mail.Content) { c.Text = "Hello\n" }), recipient(func(r *Recipient) { r.Address = "ñandú@receiver.example" }),
		received{Headers: [][2]string{subject}, From: from, To: [2]string{to[0], "ñandú@receiver.example"}, Shape: "text/plain", Parts: hello},
	}
	all["idn"] = form{
		content(func(c *mail.Content) { c.Text, c.From.Address = "Hello\n", "news@münchen.example" }),
		recipient(func(r *Recipient) { r.Address = "ana@Bücher.example" }),
		received{
			Headers: [][2]string{subject}, From: [2]string{from[0], "news@xn--mnchen-3ya.example"}, To: [2]string{to[0], "ana@xn--bcher-kva.example"},
			Shape: "text/plain", Parts: hello,
		},
	}
}
