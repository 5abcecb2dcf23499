"""A template is somebody's code: what it must not do, and that it says so in one sentence."""

import time

import pytest

from homing.engine.render import TemplateFailed, TemplateRaised, render_template
from homing.errors import TemplateError

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__.__subclasses__() }}",
    "{{ raise_exception.__globals__ }}",
    "{{ strftime_now.__self__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].system('id') }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''['__class__'] }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{{ (messages|map(attribute='__class__')|list)[0].__mro__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{% set x = messages.append({}) %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.system('id') }}",
    "{% extends '/etc/passwd' %}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ dict.__base__.__subclasses__() }}",
    "{{ range.__class__ }}{{ range.__class__.mro() }}",
]
BOMBS = [
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% for i in range(10**12) %}x{% endfor %}",
    "{{ 'x' * 10**10 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ [0] * 10**10 }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
    "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ 'x'.ljust(10**10) }}",
    "{{ '{:>9999999999}'.format(1) }}",
    "{{ 'x' | center(10**10) }}",
    "{{ 'aaaaaaaaaa' | replace('', 'x' * 90000) | replace('', 'x' * 90000) | length }}",
]
HELLO = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("source", ESCAPES)
def test_escapes_find_nothing(source):
    try:
        text = render_template(source, HELLO)
    except TemplateError as e:
        assert len(str(e).splitlines()) == 1
        return
    for leak in ("<class", "subclasses", "root:", "uid=", "<module", "<function"):
        assert leak not in text


@pytest.mark.parametrize("source", BOMBS)
def test_bombs_end_soon_in_one_sentence(source):
    start = time.monotonic()
    with pytest.raises(TemplateError) as e:
        render_template(source, HELLO, seconds=0.5, size=1_000_000)
    assert time.monotonic() - start < 25
    assert len(str(e.value).splitlines()) == 1
    assert not isinstance(e.value, TemplateRaised)
    assert render_template("{{ messages[0].content }}", HELLO) == "Hi"  # the next one is served as if nothing was


def test_the_templates_own_refusal_is_told_from_its_faults():
    with pytest.raises(TemplateRaised, match="only one user"):
        render_template("{{ raise_exception('only one user') }}", HELLO)
    for fault in ("{{ nothing.at.all }}", "{{ 1 + 'x' }}", "{{ messages[7].content }}", "{{ 1 / 0 }}"):
        with pytest.raises(TemplateFailed):
            render_template(fault, HELLO)
    with pytest.raises(TemplateError, match="line 1"):
        render_template("{% if %}", HELLO)


def test_a_template_writes_no_environment(monkeypatch):
    monkeypatch.setenv("HOMING_SECRET", "s3cret")
    with pytest.raises(TemplateError):
        render_template("{{ os.environ }}", HELLO)
