package render

// escaped are the characters that HTML gives a meaning, by octet. They are those of the reference, which are those of
// package html/template; NUL, which HTML forbids, becomes U+FFFD.
var escaped = [256]string{0: "\uFFFD", '"': "&#34;", '\'': "&#39;", '&': "&amp;", '<': "&lt;", '>': "&gt;"}

// Escaped is what an octet of a value becomes in HTML; empty if it stays.
func Escaped(c byte) string { return escaped[c] }

// AppendEscaped appends a value to HTML.
func AppendEscaped(dst []byte, value string) []byte {
	done := 0
	for i := range len(value) {
		if replacement := escaped[value[i]]; replacement != "" {
			dst = append(append(dst, value[done:i]...), replacement...)
			done = i + 1
		}
	}
	return append(dst, value[done:]...)
}
