from dlcvkit.checking import Case, Hidden, normal

elastic_net_penalty = Hidden(
    cases=[
        Case("one hidden column", W=normal(7, 1), l1=1.5, l2=0.5),
        Case("weights of 1e5", W=normal(3, 4, std=1e5), l1=0.5, l2=0.01),
        Case("float32", W=normal(6, 5), l1=0.2, l2=0.3).float32(),
        # Far too many weights to move one after the other: a gradient by finite differences runs out of time.
        Case("many weights", W=normal(3073, 10), l1=0.2, l2=0.3),
    ]
)
linear_answer = Hidden(cases=[Case("few images", seed=1, count=50)])
