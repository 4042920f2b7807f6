"""The report of benches/run_gpu as Markdown: what was checked, and times beside the ceilings and PyTorch's."""

GRIB_GOAL_MS = 0.5  # of a whole field of template 5.3, on the device
STEP_GOAL = 3.0  # times as fast as torch.compile, a denoising step of the full grid
BYTES_GOAL = 2.0  # times the time that its bytes need


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def number(value, form="{:.3f}", unit=1.0):
    """A cell: a number in a unit, or a dash where there is none."""
    return form.format(value / unit) if is_number(value) else "—"


def row(*cells):
    """One row of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def heads(*cells):
    """The head of a Markdown table."""
    return [row(*cells), row(*["---"] * len(cells))]


def least(times, *names):
    """The least of some times; None where there is none."""
    return min((times[name] for name in names if is_number(times.get(name))), default=None)


def ratio(above, below):
    return above / below if is_number(above) and is_number(below) and below > 0 else None


def rate(times, name, ms):
    """Bytes or operations a second."""
    return ratio(times.get(name), ms and ms / 1e3)


def errors(times):
    """Why a time is missing, where something failed."""
    return [times["error"]] if "error" in times else [text for text in times.values() if isinstance(text, str)]


def line(case, way, peer, copy, product):
    """One way of a case: its time, what it moves and computes, its share of the ceilings, and PyTorch's times."""
    result, forms = case[way], case.get("forms", {}) if way == "forward" else {}
    best, theirs = least(result, "ms", "replayed_ms"), least(peer, "eager_ms", "compiled_ms")
    bytes_, operations = rate(result, "bytes", best), rate(result, "operations", best) or None
    return row(case["name"] + (", both ways" if way == "both" else ""), case["dtype"], number(result.get("ms")),
               number(result.get("replayed_ms")), number(forms.get("mma_sync_ms")), number(forms.get("wgmma_ms")),
               number(bytes_, "{:.0f}", 1e9), number(operations, "{:.1f}", 1e12),
               number(ratio(bytes_, copy), "{:.0f} %", 0.01),
               number(ratio(operations, product), "{:.0f} %", 0.01), number(peer.get("eager_ms")),
               number(peer.get("compiled_ms")), number(ratio(theirs, best), "{:.2f}"),
               "; ".join(errors(result) + errors(peer)))


def cases(parts, theirs, copy, product):
    """The table of single operations, forward and, where there are gradients, forward and backward."""
    lines = heads("case", "dtype", "ms", "replayed, ms", "mma.sync, ms", "wgmma, ms", "GB/s", "TFLOP/s", "of the copy",
                  "of the product", "PyTorch, ms", "compiled, ms", "times faster", "failed")
    for case in parts.get("cases", []):
        peer = theirs.get("cases", {}).get(case["name"], {})
        ways = [way for way in ("forward", "both") if case.get(way)]
        lines += [line(case, way, peer.get(way) or {}, copy, product) for way in ways]
    return lines


def steps(parts, theirs, copy):
    """The table of whole steps of the network."""
    lines = heads("step", "ms", "replayed, ms", "bytes needed, MB", "their time at the copy's speed, ms",
                  f"times that (goal {BYTES_GOAL:.0f})", "PyTorch, ms", "compiled, ms",
                  f"times faster than compiled (goal {STEP_GOAL:.0f})", "failed")
    for step in parts.get("network", []):
        peer = (theirs.get("steps", {}).get(step["name"], {}).get(step["pass"])) or {}
        best, needed = least(step, "ms", "replayed_ms"), ratio(step.get("bytes"), copy and copy / 1e3)
        failed = errors({key: step[key] for key in ("error", "replayed_ms") if key in step}) + errors(peer)
        lines.append(row(step["name"] + (", both ways" if step["pass"] == "both" else ""), number(step.get("ms")),
                         number(step.get("replayed_ms")), number(step.get("bytes"), "{:.0f}", 1e6), number(needed),
                         number(ratio(best, needed), "{:.2f}"), number(peer.get("eager_ms")),
                         number(peer.get("compiled_ms")), number(ratio(peer.get("compiled_ms"), best), "{:.2f}"),
                         "; ".join(failed)))
    return lines


def fields(parts):
    """The table of fields that were unpacked."""
    lines = heads("field", "packed, MB", f"from the host's bytes, ms (goal for 5.3: {GRIB_GOAL_MS})", "in kernels, ms",
                  "CPU, one thread, ms", "failed")
    for field in parts.get("fields", []):
        lines.append(row(field["name"], number(field.get("packed_bytes"), "{:.2f}", 1e6), number(field.get("ms")),
                         number(field.get("kernels_ms")), number(field.get("cpu_ms")), field.get("error", "")))
    return lines


def built(report):
    """What the program was built from, and whether that is what lies here."""
    own, here = report["commit"], report["checkout"]
    if not own:
        return f"a build that does not tell its commit (the checkout is at {here or '—'})"
    return own if own == here else f"{own} (**not what lies here**: the checkout is at {here or '—'})"


def kernels(parts):
    """How many kernels ran, and which did not."""
    told = parts.get("kernels", {})
    if "error" in told:
        return [f"{told['ran']} kernels ran; how many there are is not known: {told['error']}", ""]
    idle = [f"`{name}`" for name in told.get("idle", [])]
    return [f"{told.get('ran')} of {told.get('all')} kernels ran" + (f"; not {', '.join(idle)}." if idle else "."), ""]


def table(report):
    """The report as Markdown."""
    ours, theirs, check = report["gustfront"], report["peer"], report["gustfront"]["checked"]
    parts, own_copy = ours["parts"], ours["parts"].get("copy_bytes_per_second") or None
    peer_copy = theirs.get("copy_bytes_per_second")
    copy = max((x for x in (own_copy, peer_copy) if is_number(x)), default=None)
    product = theirs.get("matmul_operations_per_second")
    lines = [f"# Kernels on {ours['device']}, {report['date']}", "",
             f"`benches/run_gpu`, gustfront {ours['version']} at {built(report)}; PyTorch {theirs.get('torch', 'absent')}, "
             f"CUDA {theirs.get('cuda', 'absent')}; driver {report['driver'] or '—'}.", ""]
    lines += [f"**PyTorch's part is missing or not whole: {theirs['failure']}**", ""] if "failure" in theirs else []
    lines += [f"{check['comparisons']} comparisons of {check['cases']} cases with plain loops, the CPU's results and the "
              f"CPU's gradients, **{len(check['failures'])} wrong**.", ""]
    lines += [f"- {failure}" for failure in check["failures"]] + ([""] if check["failures"] else []) + kernels(parts)
    lines += [f"Ceilings measured in the session: gustfront copies {number(own_copy, '{:.0f}', 1e9)} GB/s, "
              f"PyTorch {number(peer_copy, '{:.0f}', 1e9)}, of which the greater counts; PyTorch multiplies bf16 "
              f"matrices at {number(product, '{:.0f}', 1e12)} TFLOP/s. Bytes: inputs and outputs once each; "
              "both ways twice each, and gradients once. Shares and comparisons take the faster way of a program.", ""]
    parts_of_it = [("A denoising step of ddpm_ultra_minimal (model D)", steps(parts, theirs, copy)),
                   ("Whole GRIB2 fields", fields(parts)), ("Operations", cases(parts, theirs, copy, product))]
    for title, body in parts_of_it:
        lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines).rstrip() + "\n"
