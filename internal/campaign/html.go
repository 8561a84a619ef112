package campaign

import "regexp"

// markup is a tag, comment or declaration that mails are made of. A plain text may well hold < or <word>.
var markup = regexp.MustCompile(`(?i)<(?:!doctype\s+html|!--|/?(?:html|head|body|title|meta|style|p|br|hr|div|span|table|` +
	`thead|tbody|tr|td|th|ul|ol|li|h[1-6]|a|img|b|i|u|em|strong|small|font|center|blockquote|pre|code)(?:\s[^<>]*)?/?>)`)

// LooksLikeHTML reports whether a body whose type nobody gave is to be mailed as HTML.
func LooksLikeHTML(body string) bool { return markup.MatchString(body) }
