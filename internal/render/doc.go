// Package render turns a campaign's templates and a recipient's variables into the texts of one mail.
//
// Templates are Mustache, the part of it that Handlebars' users know too; docs/messages.md is its description. Everything
// is found out before anything is sent: Compile reports broken templates with line and column, Check a recipient that
// lacks a variable. What is compiled is a short list of operations over constant texts, so that package compose can
// encode the constants once and only copy them for each mail.
//
// The reference is github.com/cbroglie/mustache. Tests hold this package to it, on fixed and on random templates. It is
// not in the product: it imports html/template, which costs the image megabytes, walks values by reflection, and knows
// neither columns nor what a template must not hold.
package render
