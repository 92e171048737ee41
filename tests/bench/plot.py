"""plot: lines and bands as SVG, for docs/ablation.md and docs/performance.md."""
import math

COLORS = ["#1b6ca8", "#d1495b", "#2e933c", "#8d6a9f", "#e08e0b", "#444444"]
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 620, 330, 66, 34, 130, 46


def ticks(low, high, n=5):
    """Round numbers over a range."""
    raw = (high - low) / n
    base = 10 ** math.floor(math.log10(raw))
    step = min((m * base for m in (1, 2, 5, 10) if m * base >= raw), default=raw)
    first = math.ceil(low / step - 1e-9)
    return [round((first + i) * step, 10) for i in range(n + 2) if (first + i) * step <= high + 1e-9 * step]


def escape(text):
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def decades(low, high):
    """Powers of ten over a range of their logarithms, or, where that is less than two, 1, 2, 5 of each."""
    few = (1,) if high - low >= 2 else (1, 2, 5)
    every = [m * 10.0 ** e for e in range(math.floor(low), math.ceil(high) + 1) for m in few]
    return [x for x in every if low - 1e-9 <= math.log10(x) <= high + 1e-9]


def lines(path, title, x_name, y_name, series, x_labels=None, marks=(), log_x=False, from_zero=False,
          shades=()):
    """series: [(name, [(x, y, sd)])]. x_labels: {x: text} in place of numbers; marks: vertical lines; from_zero: y is;
    shades: [(x, x)]."""
    if log_x:
        series = [(name, [(math.log10(x), y, sd) for x, y, sd in ps]) for name, ps in series]
    points = [p for _, ps in series for p in ps]
    xs = [p[0] for p in points]
    low = min(p[1] - p[2] for p in points)
    high = max(p[1] + p[2] for p in points)
    pad = (high - low) * 0.06 or 0.01
    low, high = (0 if from_zero else low - pad), high + pad
    x0, x1 = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1

    def at(x, y):
        return (LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
                TOP + (high - y) / (high - low) * (HEIGHT - TOP - BOTTOM))

    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
           'font-family="sans-serif" font-size="12">' % (WIDTH, HEIGHT, WIDTH, HEIGHT),
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="%d" y="20" font-size="14">%s</text>' % (LEFT, escape(title))]
    for a, b in shades:
        px, _ = at(a, low)
        out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#f0e8d8"/>' %
                   (px, TOP, at(min(b, x1), low)[0] - px, HEIGHT - TOP - BOTTOM))
    for y in ticks(low, high):
        px, py = at(x0, y)
        out.append('<line x1="%.1f" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>' % (px, py, WIDTH - RIGHT, py))
        out.append('<text x="%d" y="%.1f" text-anchor="end">%g</text>' % (LEFT - 6, py + 4, y))
    if x_labels is None:
        x_labels = {math.log10(x): "{:,g}".format(x) for x in decades(x0, x1)} if log_x else \
                   {x: "%g" % x for x in ticks(x0, x1)}
    for x in x_labels:
        px, _ = at(x, low)
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%s</text>' %
                   (px, HEIGHT - BOTTOM + 16, escape(x_labels[x])))
    for x in marks:
        px, _ = at(x, low)
        out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#999" stroke-dasharray="4 3"/>' %
                   (px, TOP, px, HEIGHT - BOTTOM))
    out.append('<text x="%d" y="%d" text-anchor="middle">%s</text>' %
               ((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, escape(x_name)))
    out.append('<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>' %
               ((TOP + HEIGHT - BOTTOM) / 2, escape(y_name)))
    for i, (name, ps) in enumerate(series):
        color = COLORS[i % len(COLORS)]
        ps = sorted(ps)
        if any(p[2] > 0 for p in ps):
            band = [at(x, y + sd) for x, y, sd in ps] + [at(x, y - sd) for x, y, sd in reversed(ps)]
            out.append('<polygon points="%s" fill="%s" opacity="0.15"/>' %
                       (" ".join("%.1f,%.1f" % p for p in band), color))
        out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' %
                   (" ".join("%.1f,%.1f" % at(x, y) for x, y, _ in ps), color))
        out += ['<circle cx="%.1f" cy="%.1f" r="2.6" fill="%s"/>' % (at(x, y) + (color,)) for x, y, _ in ps]
        y = TOP + 12 + 18 * i
        out.append('<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2"/>' %
                   (WIDTH - RIGHT + 10, y - 4, WIDTH - RIGHT + 30, y - 4, color))
        out.append('<text x="%d" y="%d">%s</text>' % (WIDTH - RIGHT + 35, y, escape(name)))
    with open(path, "w") as f:
        f.write("\n".join(out + ["</svg>"]) + "\n")
