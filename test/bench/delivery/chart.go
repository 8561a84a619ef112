package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"time"
)

// The geometry of the chart, in pixels.
const (
	chartWidth, chartHeight             = 860, 460
	plotLeft, plotTop                   = 64, 44
	plotRight, plotBottom               = 560, 410
	labelLeft, labelHeight, labelOffset = 596, 22, 4
)

// colors are those of the sides, which can be told apart by people who see few of them.
var colors = map[*side]string{
	control: "#999999", sender: "#56b4e9", smtpSource: "#d55e00", nodeUsual: "#cc79a7", nodeTuned: "#e69f00", cartero: "#0072b2",
}

// chart draws rates by round trip: a line for each side, with lowest and highest, and dashed what connections and round
// trips allow.
func (r report) chart() []byte {
	c := &chart{trips: r.roundTrips()}
	low, high := math.Inf(1), 1.0
	for _, one := range r.Rates {
		low, high = min(low, one.Rate.Min), max(high, one.Rate.Max, one.Limit)
	}
	if math.IsInf(low, 1) {
		low = 1
	}
	c.low, c.high = math.Floor(math.Log10(max(low, 0.1))), math.Ceil(math.Log10(high))
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n",
		chartWidth, chartHeight)
	fmt.Fprintf(c, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", chartWidth, chartHeight)
	c.text(plotLeft, 24, "start", fmt.Sprintf("Mails a second over %d connections, by round trip", r.Conns))
	c.grid()
	c.limits(r)
	for i, s := range sides {
		c.side(r, s, i)
	}
	c.legend(len(sides))
	fmt.Fprintln(c, "</svg>")
	return c.Bytes()
}

type chart struct {
	bytes.Buffer

	trips     []time.Duration
	low, high float64 // powers of ten
}

// x and y are where a round trip and a rate are.
func (c *chart) x(i int) float64 {
	return plotLeft + (float64(i)+0.5)*(plotRight-plotLeft)/float64(max(1, len(c.trips)))
}

func (c *chart) y(rate float64) float64 {
	share := (math.Log10(max(rate, math.Pow(10, c.low))) - c.low) / max(1, c.high-c.low)
	return plotBottom - share*(plotBottom-plotTop)
}

func (c *chart) text(x, y float64, anchor, text string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="#222222">%s</text>`+"\n", x, y, anchor, html.EscapeString(text))
}

func (c *chart) line(x1, y1, x2, y2 float64, color, style string) {
	fmt.Fprintf(c, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"%s/>`+"\n", x1, y1, x2, y2, color, style)
}

func (c *chart) grid() {
	for power := c.low; power <= c.high; power++ {
		rate := math.Pow(10, power)
		c.line(plotLeft, c.y(rate), plotRight, c.y(rate), "#dddddd", "")
		c.text(plotLeft-8, c.y(rate)+labelOffset, "end", fmt.Sprintf("%.0f", rate))
	}
	for i, trip := range c.trips {
		c.text(c.x(i), plotBottom+22, "middle", trip.String())
	}
}

const dashed = ` stroke-dasharray="5 4" stroke-width="1.5"`

// limits draws what one and four round trips for each mail allow.
func (c *chart) limits(r report) {
	for _, s := range []*side{cartero, smtpSource} {
		for i := 1; i < len(c.trips); i++ {
			from, to := s.limit(r.Conns, c.trips[i-1]), s.limit(r.Conns, c.trips[i])
			if !math.IsInf(from, 1) && !math.IsInf(to, 1) {
				c.line(c.x(i-1), c.y(from), c.x(i), c.y(to), colors[s], dashed)
			}
		}
	}
}

// side draws the points of one side, the lines between them, and its name.
func (c *chart) side(r report, s *side, row int) {
	color, before := colors[s], -1
	for i, trip := range c.trips {
		one := r.of(s, trip)
		if one == nil {
			continue
		}
		if before >= 0 {
			c.line(c.x(before), c.y(r.of(s, c.trips[before]).Rate.Median), c.x(i), c.y(one.Rate.Median), color, ` stroke-width="2"`)
		}
		c.line(c.x(i), c.y(one.Rate.Min), c.x(i), c.y(one.Rate.Max), color, ` stroke-width="5" stroke-opacity="0.4"`)
		fmt.Fprintf(c, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s"><title>%s, %s: %.0f mails/s</title></circle>`+"\n",
			c.x(i), c.y(one.Rate.Median), color, html.EscapeString(s.title), trip, one.Rate.Median)
		before = i
	}
	y := plotTop + float64(row*labelHeight)
	fmt.Fprintf(c, `<circle cx="%d" cy="%.1f" r="4" fill="%s"/>`+"\n", labelLeft-14, y, color)
	c.text(labelLeft, y+labelOffset, "start", s.title)
}

// legend says what is dashed.
func (c *chart) legend(row int) {
	y := plotTop + float64(row*labelHeight)
	c.line(labelLeft-24, y, labelLeft-6, y, "#222222", dashed)
	c.text(labelLeft, y+labelOffset, "start", "possible with 1 and 4 round trips a mail")
}
